//! The part of `/var/vcap` that exists before any job: BOSH's layout, the facts about the instance, and the DNS
//! records.

use std::{
    fs::{self, DirBuilder},
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use serde::Deserialize;

use super::{protocol::InstanceFacts, root, users::Vcap};
use crate::{
    error::{Doing, LabError},
    state_dir::fresh_directory,
};

/// Path on the VM.
pub(super) const VCAP: &str = "/var/vcap";
const RECORDS: &str = "/var/vcap/instance/dns/records.json";
const HEALTH: &str = "/var/vcap/instance/health.json";
/// Exists while the jobs are stopped on request, also across a reboot.
const STOPPED: &str = "/var/vcap/monit/stopped";

/// Creates missing directories, and empties those that do not outlive a boot.
pub(super) fn lay_out(facts: &InstanceFacts, vcap: Vcap) -> Result<(), LabError> {
    let root = Path::new(VCAP);
    for directory in ["jobs", "packages", "data", "store", "sys/log", "monit/job", "instance/dns"] {
        let path = root.join(directory);
        DirBuilder::new().recursive(true).mode(0o755).create(&path).doing(|| format!("making {}", path.display()))?;
    }
    for shared in ["sys/log", "store"] {
        vcap.share(&root.join(shared))?;
    }
    fresh_directory(&root.join("sys/run"))?;
    let instance = [("id", &facts.id), ("name", &facts.name), ("az", &facts.az), ("deployment", &facts.deployment)];
    for (name, value) in instance {
        let path = root.join("instance").join(name);
        fs::write(&path, value).doing(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Whether the jobs were stopped on request.
pub(super) fn is_stopped() -> bool {
    Path::new(STOPPED).exists()
}

/// Records whether the jobs are stopped on request.
pub(super) fn set_stopped(stopped: bool) -> Result<(), LabError> {
    let done = if stopped { fs::write(STOPPED, "") } else { fs::remove_file(STOPPED) };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).doing(|| format!("noting {STOPPED}")),
        _ => Ok(()),
    }
}

/// Rewrites `health.json` in place, as the BOSH agent does.
pub(super) fn write_health(state: &str) -> Result<(), LabError> {
    let health = serde_json::json!({ "state": state });
    fs::write(HEALTH, health.to_string()).doing(|| format!("writing {HEALTH}"))
}

/// The part of `records.json` that is used here.
#[derive(Deserialize)]
struct Records {
    version: u64,
    records: Vec<(String, String)>,
}

/// Replaces `records.json` unless the existing one is newer, and writes its names to `/etc/hosts`.
pub(super) fn put_records(text: &str, hostname: &str, address: Option<Ipv4Addr>, vcap: Vcap) -> Result<(), LabError> {
    let new: Records = serde_json::from_str(text).doing(|| "reading the new records.json".to_owned())?;
    let present = fs::read_to_string(RECORDS).ok().and_then(|text| serde_json::from_str::<Records>(&text).ok());
    if present.is_some_and(|present| present.version > new.version) {
        return Ok(());
    }
    let draft = Path::new(RECORDS).with_extension("json.new");
    fs::write(&draft, text).doing(|| format!("writing {}", draft.display()))?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o640)).doing(|| format!("closing {}", draft.display()))?;
    vcap.share(&draft)?;
    fs::rename(&draft, RECORDS).doing(|| format!("replacing {RECORDS}"))?;
    let names: String = new.records.iter().map(|(address, name)| format!("{address} {name}\n")).collect();
    fs::write("/etc/hosts", root::hosts(hostname, address) + &names).doing(|| "writing /etc/hosts".to_owned())
}
