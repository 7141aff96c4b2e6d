//! An Envoy that crashes again and again. Tests with real Envoys are those of the lab.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use boshy_backoff::{Backoff, Falls};
use boshy_envoy_keeper::{End, KeepError, KeeperParts, keep};

fn parts(program: &Path) -> KeeperParts {
    KeeperParts {
        program: program.to_owned(),
        arguments: vec!["--concurrency".into()],
        bootstrap: Box::new(|sockets| Ok(format!("{:?}", sockets.admin))),
        admin: "127.0.0.1:0".parse().unwrap(),
        health_socket: None,
        agent_socket: None,
        tunnel_end: None,
        run_dir: program.parent().unwrap().to_owned(),
        stop_timeout: Duration::ZERO,
        overlap_timeout: Duration::ZERO,
        backoff: Backoff::NONE,
    }
}

#[test]
fn an_envoy_that_only_crashes_is_given_up_after_as_many_starts_as_the_rule_says() {
    let folder = tempfile::tempdir().unwrap();
    let (program, starts) = (folder.path().join("envoy"), folder.path().join("starts"));
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {}\nexit 7\n", starts.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(keep(parts(&program)).unwrap(), End::GaveUp);
    let starts = fs::read_to_string(starts).unwrap();
    assert_eq!(starts.lines().count(), 1 + Falls::MOST as usize);
    let admin = folder.path().join("admin-0.sock");
    let wanted = format!("--config-yaml Some({admin:?}) --concurrency");
    assert!(starts.lines().all(|start| start == wanted), "{starts}");
}

#[test]
fn a_program_that_cannot_be_started_is_told_at_once() {
    let Err(KeepError::Start { program, .. }) = keep(parts(Path::new("/nowhere/envoy"))) else { panic!() };
    assert_eq!(program, Path::new("/nowhere/envoy"));
}
