use std::net::Ipv4Addr;

use serde_json::Value;

use super::*;
use crate::InstanceName;

fn lab(mesh: bool) -> LabSettings {
    let bootstrap = |facts: &VmFacts| format!("bootstrap of {}", facts.name.short());
    LabSettings { boshy: PathBuf::from("/usr/bin/boshy"), mesh: mesh.then_some(MeshSettings { bootstrap }) }
}

fn director() -> DirectorAccess {
    DirectorAccess {
        url: "https://10.244.0.2:25555".to_owned(),
        ca_pem: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned(),
        username: "admin".to_owned(),
        password: SecretString::from("1: #'\""),
    }
}

fn vm(job: ManifestJob) -> VmFacts {
    VmFacts {
        name: InstanceName { deployment: "sample".to_owned(), group: "banana".to_owned(), index: 1 },
        id: "673e".to_owned(),
        az: "z2".to_owned(),
        ip: Ipv4Addr::new(10, 244, 0, 132),
        jobs: vec![job],
    }
}

fn httpbin() -> VmFacts {
    vm(ManifestJob { name: "example-httpbin".to_owned(), ports: vec![9002], command: None })
}

fn names(jobs: &[JobSpec]) -> Vec<&str> {
    jobs.iter().map(|job| job.name.as_str()).collect()
}

/// A file of a job, read as the YAML it claims to be.
fn file(jobs: &[JobSpec], job: &str, path: &str) -> Value {
    let job = jobs.iter().find(|spec| spec.name == job).unwrap();
    let (_, text) = job.files.iter().find(|(name, _)| name == path.as_ref() as &std::path::Path).unwrap();
    boshy_director::yaml::from_text(text, &boshy_director::yaml::Limits::default()).unwrap()
}

#[test]
fn a_vm_of_the_mesh_has_the_agent_envoy_and_its_own_jobs() {
    let jobs = jobs(&lab(true), &director(), &httpbin()).unwrap();
    assert_eq!(names(&jobs), ["bosh-dns", "virtual-ip-agent", "bosh-envoy", "example-httpbin"]);
    assert_eq!(jobs[2].files[0].1, "bootstrap of banana/1");
    assert_eq!(jobs[3].command[1..], ["httpbin", "--port", "9002", "--instance", "banana/1"]);
    let config = file(&jobs, "virtual-ip-agent", "config/config.yml");
    assert_eq!(
        (config["node"]["ip"].as_str(), config["pilots"][0].as_str()),
        (Some("10.244.0.132"), Some("http://10.244.3.125:15010"))
    );
    let handlers = file(&jobs, "virtual-ip-agent", "dns/handlers.json");
    assert_eq!(
        (&handlers[0]["domain"], &handlers[0]["source"]["recursors"][0]),
        (&"boshy.".into(), &"127.0.0.1:15053".into())
    );
}

#[test]
fn a_vm_without_the_mesh_has_bosh_dns_and_its_own_jobs() {
    let jobs = jobs(&lab(false), &director(), &httpbin()).unwrap();
    assert_eq!(names(&jobs), ["bosh-dns", "example-httpbin"]);
}

#[test]
fn the_pilot_reads_the_director_and_has_no_agent() {
    let facts = vm(ManifestJob { name: PILOT_JOB.to_owned(), ..ManifestJob::default() });
    let jobs = jobs(&lab(true), &director(), &facts).unwrap();
    assert_eq!(names(&jobs), ["bosh-dns", PILOT_JOB]);
    let config = file(&jobs, PILOT_JOB, "config/config.yml");
    let settings = &config["director"];
    assert_eq!(settings["client_secret"], "1: #'\"", "the password did not survive the writing");
    assert_eq!((&settings["url"], &settings["ca_cert"]), (&director().url.into(), &director().ca_pem.into()));
}

#[test]
fn a_job_runs_the_command_its_manifest_gives() {
    let facts = vm(ManifestJob { name: "web".to_owned(), ports: Vec::new(), command: Some("run it".to_owned()) });
    let jobs = jobs(&lab(false), &director(), &facts).unwrap();
    assert_eq!(jobs[1].command, ["/bin/sh", "-c", "run it"]);
}

#[test]
fn a_job_that_nobody_can_run_is_refused_with_what_to_do() {
    let refused = |job: &str| {
        let facts = vm(ManifestJob { name: job.to_owned(), ..ManifestJob::default() });
        jobs(&lab(false), &director(), &facts).unwrap_err().to_string()
    };
    assert!(refused("nginx").contains("nginx; give it the property lab.command"));
    assert!(refused("example-httpbin").contains("needs an entry in expose_ports"));
    assert!(refused("../x").contains("cannot keep files"));
}

#[test]
fn a_vm_is_ready_when_its_mesh_and_its_server_answer() {
    let asked = |mesh: bool| -> Vec<String> {
        probes(mesh, &httpbin()).iter().map(|probe| format!("{}:{}{}", probe.job, probe.port, probe.path)).collect()
    };
    assert_eq!(
        asked(true),
        ["virtual-ip-agent:15020/readyz", "virtual-ip-agent:15020/status", "example-httpbin:9002/get"]
    );
    assert_eq!(asked(false), ["example-httpbin:9002/get"]);
}
