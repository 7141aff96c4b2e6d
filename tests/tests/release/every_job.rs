//! Properties of every job of the release.

use std::{collections::BTreeMap, process::Command};

use serde::Deserialize;

use crate::{
    job::{Deployed, JOBS, Rendered},
    manifests::as_shipped,
};

/// `config/bpm.yml` with unknown keys refused: bpm ignores them, so a misspelt one would go unnoticed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bpm {
    processes: Vec<Process>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    name: String,
    executable: String,
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    limits: Limits,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    ephemeral_disk: bool,
    #[serde(default)]
    persistent_disk: bool,
    #[serde(default)]
    additional_volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    open_files: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Volume {
    path: String,
    #[serde(default)]
    mount_only: bool,
}

fn every_job() -> impl Iterator<Item = (&'static str, Rendered)> {
    JOBS.into_iter().map(|job| (job, as_shipped(job).rendered()))
}

#[test]
fn every_property_says_what_it_means_and_has_a_default_unless_required() {
    for job in JOBS {
        for (name, property) in Deployed::of(job).job.spec.properties {
            let description = &property.description;
            assert!(description.ends_with('.') && description.len() > 10, "{job}: {name}: {description:?}");
            let required = description.ends_with("Required.");
            assert_eq!(property.default.is_null(), required, "{job}: {name}");
        }
    }
}

#[test]
fn bpm_reads_every_process_and_gives_it_no_more_than_it_needs() {
    for (job, rendered) in every_job() {
        let bpm: Bpm = serde_json::from_str(rendered.file("config/bpm.yml")).unwrap();
        let [process] = &bpm.processes[..] else { panic!("{job} has another number of processes than one") };
        assert_eq!(process.name, job);
        assert_eq!(process.executable, "/var/vcap/packages/boshy/bin/boshy");
        assert!(!process.args.is_empty() && process.limits.open_files >= 4096);
        assert!(
            process.env.keys().all(|name| name.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_'))
        );
        let capabilities: &[&str] = if job == "virtual-ip-agent" { &["NET_ADMIN"] } else { &[] };
        assert_eq!(process.capabilities, capabilities, "{job}");
        assert!(!(process.ephemeral_disk && process.persistent_disk), "{job}");
        for volume in &process.additional_volumes {
            assert_eq!(volume.mount_only, volume.path == "/var/vcap/instance", "{job}: {}", volume.path);
        }
    }
}

#[test]
fn monit_starts_and_stops_by_bpm() {
    for (job, rendered) in every_job() {
        let words: Vec<&str> = rendered.file("monit").split_whitespace().collect();
        let bpm =
            |verb: &str| ["\"/var/vcap/jobs/bpm/bin/bpm".to_owned(), verb.to_owned(), format!("{job}\"")].join(" ");
        let expected = format!(
            "check process {job} with pidfile /var/vcap/sys/run/bpm/{job}/{job}.pid start program {} stop program {} group vcap",
            bpm("start"),
            bpm("stop"),
        );
        // Through its own socket: a port may belong to another process, which is no reason to restart this one.
        let settings = [
            ("virtual-ip-agent", "config/agent.yml", "/health_socket", 6),
            ("bosh-pilot", "config/pilot.yml", "/health_socket", 6),
            // An Envoy without an agent starts answering after 30 s, and one whose agent has only half of the resources
            // after 45 s.
            ("bosh-envoy", "config/agent.yml", "/envoy/health_socket", 9),
        ];
        let asked = settings.iter().find(|(asked, ..)| *asked == job).map(|(_, settings, key, cycles)| {
            let socket = format!("/var/vcap/sys/run/{job}/health.sock");
            assert_eq!(rendered.json(settings).pointer(key).unwrap(), socket.as_str());
            format!(
                " if failed unixsocket {socket} send \"GET /healthz HTTP/1.0\\r\\n\\r\\n\" expect \"HTTP/1.0 200\" timeout 5 seconds \
                 for {cycles} cycles then restart"
            )
        });
        assert_eq!(words.join(" "), expected + &asked.unwrap_or_default());
    }
}

#[test]
fn every_script_is_one_that_bash_reads() {
    for (job, rendered) in every_job() {
        for (path, content) in rendered.files().filter(|(path, _)| path.starts_with("bin/")) {
            assert!(content.starts_with("#!/bin/bash\n"), "{job}: {path}");
            let output = Command::new("bash").args(["-n", "-c", content]).output().unwrap();
            assert!(output.status.success(), "{job}: {path}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// A reboot runs no pre-start, so its effects would be missing from then on.
#[test]
fn no_job_has_a_pre_start() {
    for (job, rendered) in every_job() {
        for script in ["bin/post-start", "bin/drain"] {
            assert!(!rendered.file(script).is_empty(), "{job}: {script}");
        }
        assert!(rendered.files().all(|(path, _)| path != "bin/pre-start"), "{job}");
    }
}

#[test]
fn a_drain_with_nothing_open_ends_at_once() {
    for (job, rendered) in every_job() {
        let output = Command::new("bash").args(["-c", rendered.file("bin/drain")]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"0\n".as_slice()), "{job}");
    }
}
