//! `boshy vouch`.
//!
//! The BOSH agent keeps its settings in `settings.json`, with the credentials of the VM's first boot in `env.bosh.mbus`.
//! Those that the director has sent since are in `update_settings.json` and come first (`GetMbusCerts` of the BOSH
//! agent). Both files are in `/var/vcap/bosh`, or, with `env.bosh.agent.settings.tmpfs`, in its directory `settings`.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use boshy_identity::Voucher;
use boshy_mesh::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Arguments of `boshy vouch`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the BOSH agent's settings
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/vcap/bosh")]
    bosh: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File that is for the same group
    #[arg(long, value_name = "FILE")]
    like: PathBuf,
}

/// Credentials of the BOSH agent.
#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    ca: String,
    #[serde(default)]
    certificate: String,
    #[serde(default)]
    private_key: SecretString,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Credentials { certificate, private_key, .. } = credentials(&args.bosh)?;
    let voucher = Voucher::issue(&certificate, &private_key, now())
        .with_context(|| format!("sign with the key of the BOSH agent in {}", args.bosh.display()))?;
    write(args, voucher.to_pem().expose_secret()).with_context(|| format!("write {}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn credentials(bosh: &Path) -> anyhow::Result<Credentials> {
    let in_memory = bosh.join("settings");
    let directory = if in_memory.join("settings.json").exists() { &in_memory } else { bosh };
    for (name, pointer) in [("update_settings.json", "/mbus/cert"), ("settings.json", "/env/bosh/mbus/cert")] {
        let file = directory.join(name);
        if !file.exists() {
            continue;
        }
        // No text of serde_json is shown: it may quote a key.
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|_| anyhow::anyhow!("{} is no JSON", file.display()))?;
        let found = json.pointer(pointer).and_then(|found| Credentials::deserialize(found).ok());
        if let Some(found) = found.filter(|found| !found.ca.is_empty()) {
            return Ok(found);
        }
    }
    bail!("the BOSH agent's settings in {} have no certificate: the director does not use them", directory.display());
}

/// Replaces a file in a directory of root's. The group reads it, nobody else.
fn write(Args { out, like, .. }: &Args, text: &str) -> anyhow::Result<()> {
    let group = fs::metadata(like).with_context(|| format!("look at {}", like.display()))?.gid();
    let draft = out.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&draft)?;
    fchown(&written, None, Some(group))?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    Ok(fs::rename(&draft, out)?)
}

#[expect(clippy::disallowed_methods, reason = "certificates are valid by the time of day")]
fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
