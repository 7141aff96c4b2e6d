//! `boshy vouch`, with the settings of a BOSH agent as the director of 2026 and older ones leave them.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use serde_json::json;
use tempfile::TempDir;

use crate::{boshy, text};

const CERTIFICATE: &str = include_str!("../../crates/identity/src/tests/fixtures/bosh_agent.pem");
const KEY: &str = include_str!("../../crates/identity/src/tests/fixtures/bosh_agent.key");
const BOOTSTRAP: &str = include_str!("../../crates/identity/src/tests/fixtures/bosh_bootstrap.pem");
const BOOTSTRAP_KEY: &str = include_str!("../../crates/identity/src/tests/fixtures/bosh_bootstrap.key");

/// The BOSH agent's directory, with the credentials of the first boot and perhaps later ones.
fn bosh(first: (&str, &str), later: Option<(&str, &str)>) -> TempDir {
    let directory = TempDir::new().unwrap();
    put(directory.path(), first, later);
    directory
}

fn put(directory: &Path, first: (&str, &str), later: Option<(&str, &str)>) {
    let mbus = |(certificate, key)| json!({"cert": {"ca": "server's", "certificate": certificate, "private_key": key}});
    let settings = json!({"agent_id": "x", "env": {"bosh": {"mbus": mbus(first)}}, "mbus": "nats://x"});
    fs::write(directory.join("settings.json"), settings.to_string()).unwrap();
    if let Some(later) = later {
        let update = json!({"trusted_certs": "", "mbus": mbus(later)}).to_string();
        fs::write(directory.join("update_settings.json"), update).unwrap();
    }
}

/// The voucher, or what is said on standard error.
fn vouched(bosh_agent: &Path) -> Result<String, String> {
    let out = TempDir::new().unwrap();
    let file = out.path().join("voucher");
    let [bosh, to, like] = [bosh_agent, &file, out.path()].map(|path| path.to_str().unwrap());
    let output = boshy(["vouch", "--bosh", bosh, "--out", to, "--like", like]);
    if !output.status.success() {
        return Err(text(&output.stderr));
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1, "a draft is left");
    let (written, directory) = (fs::metadata(&file).unwrap(), fs::metadata(out.path()).unwrap());
    assert_eq!((written.mode() & 0o777, written.gid()), (0o640, directory.gid()));
    Ok(fs::read_to_string(file).unwrap())
}

#[test]
fn the_bosh_agents_key_signs_a_new_one_and_stays_where_it_is() {
    let directory = bosh((CERTIFICATE, KEY), None);
    let (one, other) = (vouched(directory.path()).unwrap(), vouched(directory.path()).unwrap());
    assert_ne!(one, other);
    assert!(one.contains(CERTIFICATE.trim()) && one.matches("BEGIN PRIVATE KEY").count() == 1, "{one}");
    assert!(KEY.lines().all(|line| !one.contains(line)));
}

#[test]
fn credentials_that_the_director_has_sent_later_come_first_also_in_memory() {
    let directory = bosh((BOOTSTRAP, BOOTSTRAP_KEY), Some((CERTIFICATE, KEY)));
    assert!(vouched(directory.path()).unwrap().contains(CERTIFICATE.trim()));

    let in_memory = bosh((BOOTSTRAP, BOOTSTRAP_KEY), None);
    fs::create_dir(in_memory.path().join("settings")).unwrap();
    put(&in_memory.path().join("settings"), (BOOTSTRAP, BOOTSTRAP_KEY), Some((CERTIFICATE, KEY)));
    assert!(vouched(in_memory.path()).unwrap().contains(CERTIFICATE.trim()));
}

#[test]
fn what_does_not_vouch_is_told_without_a_word_of_a_key() {
    let first_boot = bosh((BOOTSTRAP, BOOTSTRAP_KEY), None);
    let error = vouched(first_boot.path()).unwrap_err();
    assert!(error.contains("AGENT-ID.agent.bosh-internal"), "{error}");

    let nothing = TempDir::new().unwrap();
    let error = vouched(nothing.path()).unwrap_err();
    assert!(error.contains("have no certificate"), "{error}");

    fs::write(nothing.path().join("settings.json"), format!("{{\"x\": {KEY}")).unwrap();
    let error = vouched(nothing.path()).unwrap_err();
    assert!(error.contains("is no JSON") && !error.contains("RSA"), "{error}");
}
