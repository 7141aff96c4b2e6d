//! What runs on a VM, and the files it is configured by: the place of a BOSH release's job templates.

use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;

use crate::{
    LabSettings, MeshSettings,
    error::LabError,
    facts::{VmFacts, check_directory},
    manifest::ManifestJob,
    vm::protocol::JobSpec,
};

/// The pilot's address.
pub(crate) const PILOT: &str = "10.244.3.125";
/// Zones and network of the lab. The first address given is 10.244.0.126; those of 10.244.3.0/24 can be asked for.
pub(crate) const CLOUD_CONFIG: &str = "\
azs: [{name: z1}, {name: z2}, {name: z3}]
vm_types: [{name: default}]
networks:
- name: default
  type: manual
  subnets:
  - range: 10.244.0.0/16
    gateway: 10.244.0.1
    azs: [z1, z2, z3]
    reserved: [10.244.0.2-10.244.0.125]
    static: [10.244.3.1-10.244.3.254]
";
/// The control plane's deployment.
pub(crate) const PILOT_MANIFEST: &str = "\
name: bosh-istio
releases: [{name: boshy, version: latest}]
stemcells: [{alias: default, os: ubuntu-noble, version: latest}]
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1000-30000, update_watch_time: 1000-30000}
instance_groups:
- name: bosh-pilot
  azs: [z1]
  instances: 1
  vm_type: default
  stemcell: default
  networks: [{name: default, static_ips: [10.244.3.125]}]
  jobs: [{name: bosh-pilot, release: boshy}]
";
/// The job that is the control plane.
pub(crate) const PILOT_JOB: &str = "bosh-pilot";
/// The job that every VM of the mesh has.
const AGENT_JOB: &str = "virtual-ip-agent";
/// The pilot's port for HTTP.
pub(crate) const PILOT_PORT: u16 = 8080;
/// The agent's port for operators.
const AGENT_PORT: u16 = 15020;
/// The sample job.
const HTTPBIN_JOB: &str = "example-httpbin";

const BOSHY: &str = "/var/vcap/packages/boshy/bin/boshy";
const ENVOY: &str = "/var/vcap/packages/envoy/bin/envoy";
const CONFIG: &str = "config/config.yml";

/// How to reach the director.
#[derive(Clone)]
pub(crate) struct DirectorAccess {
    pub(crate) url: String,
    pub(crate) ca_pem: String,
    pub(crate) username: String,
    pub(crate) password: SecretString,
}

/// The jobs of a VM: those every VM has, then its own.
///
/// # Errors
/// When a job is none that the lab can run.
pub(crate) fn jobs(lab: &LabSettings, director: &DirectorAccess, facts: &VmFacts) -> Result<Vec<JobSpec>, LabError> {
    let own = facts.jobs.iter().map(|job| own_job(director, facts, job)).collect::<Result<Vec<_>, _>>()?;
    let is_pilot = facts.jobs.iter().any(|job| job.name == PILOT_JOB);
    let mut jobs = match &lab.mesh {
        Some(mesh) if !is_pilot => vec![agent(facts), envoy(mesh, facts)],
        _ => Vec::new(),
    };
    jobs.insert(0, bosh_dns());
    jobs.extend(own);
    Ok(jobs)
}

fn own_job(director: &DirectorAccess, facts: &VmFacts, job: &ManifestJob) -> Result<JobSpec, LabError> {
    check_directory(&job.name).map_err(LabError::Refused)?;
    if let Some(command) = &job.command {
        return Ok(spec(&job.name, ["/bin/sh", "-c", command], Vec::new()));
    }
    match job.name.as_str() {
        PILOT_JOB => Ok(pilot(director)),
        HTTPBIN_JOB => httpbin(facts, job),
        name => Err(LabError::Refused(format!(
            "the lab does not know how to run the job {name}; give it the property lab.command, a shell command"
        ))),
    }
}

fn httpbin(facts: &VmFacts, job: &ManifestJob) -> Result<JobSpec, LabError> {
    let port = job.ports.first().ok_or_else(|| {
        LabError::Refused(format!("the job {} of {} needs an entry in expose_ports", job.name, facts.name))
    })?;
    let (port, instance) = (port.to_string(), facts.name.short());
    Ok(spec(&job.name, [BOSHY, "httpbin", "--port", &port, "--instance", &instance], Vec::new()))
}

fn bosh_dns() -> JobSpec {
    spec("bosh-dns", [BOSHY, "lab", "bosh-dns"], Vec::new())
}

fn agent(facts: &VmFacts) -> JobSpec {
    let config = serde_json::json!({
        "node": { "ip": facts.ip, "id": facts.id },
        "pilots": [format!("http://{PILOT}:15010")],
        "state_dir": "/var/vcap/data/virtual-ip-agent/state",
        "test_hooks": true,
        "ads_socket": "/var/vcap/data/virtual-ip-agent/ads.sock",
    });
    let handlers = serde_json::json!([{
        "domain": "boshy.",
        "cache": { "enabled": false },
        "source": { "type": "dns", "recursors": ["127.0.0.1:15053"] },
    }]);
    let command = [BOSHY, "agent", "--config", "/var/vcap/jobs/virtual-ip-agent/config/config.yml"];
    spec(AGENT_JOB, command, vec![(CONFIG, yaml(&config)), ("dns/handlers.json", handlers.to_string())])
}

fn envoy(mesh: &MeshSettings, facts: &VmFacts) -> JobSpec {
    // Envoy's default of one worker per processor would be a dozen threads per VM on one machine.
    let config = "/var/vcap/jobs/bosh-envoy/config/bootstrap.yml";
    let command =
        [ENVOY, "--config-path", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"];
    spec("bosh-envoy", command, vec![("config/bootstrap.yml", (mesh.bootstrap)(facts))])
}

fn pilot(director: &DirectorAccess) -> JobSpec {
    let config = serde_json::json!({
        "director": {
            "url": director.url,
            "ca_cert": director.ca_pem,
            "client": director.username,
            "client_secret": director.password.expose_secret(),
            "poll_interval": "1s",
        },
        "state_dir": "/var/vcap/data/bosh-pilot",
        "test_hooks": true,
        "http": { "listen": "0.0.0.0:8080" },
        "xds": { "listen": "0.0.0.0:15010" },
    });
    let command = [BOSHY, "pilot", "--config", "/var/vcap/jobs/bosh-pilot/config/config.yml"];
    spec(PILOT_JOB, command, vec![(CONFIG, yaml(&config))])
}

/// JSON is YAML, and quotes everything that needs it.
fn yaml(config: &serde_json::Value) -> String {
    format!("{config:#}\n")
}

fn spec<'a>(name: &str, command: impl IntoIterator<Item = &'a str>, files: Vec<(&str, String)>) -> JobSpec {
    JobSpec {
        name: name.to_owned(),
        command: command.into_iter().map(str::to_owned).collect(),
        environment: Vec::new(),
        files: files.into_iter().map(|(path, content)| (PathBuf::from(path), content)).collect(),
    }
}

/// A question to a job, which is ready when `GET` is answered with 200 and the answer is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) job: String,
    pub(crate) port: u16,
    pub(crate) path: &'static str,
    pub(crate) look: Look,
}

/// What an answer is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// That there is one.
    Answered,
    /// As the pilot's `/status`: that it knows every service.
    PilotStatus,
    /// As an agent's `/status`: that it answers every name.
    AgentStatus,
}

/// What has to answer on a VM before it counts as ready.
pub(crate) fn probes(mesh: bool, facts: &VmFacts) -> Vec<Probe> {
    let probe = |job: &str, port, path, look| Probe { job: job.to_owned(), port, path, look };
    let mut probes = Vec::new();
    if facts.jobs.iter().any(|job| job.name == PILOT_JOB) {
        probes.push(probe(PILOT_JOB, PILOT_PORT, "/readyz", Look::Answered));
        probes.push(probe(PILOT_JOB, PILOT_PORT, "/status", Look::PilotStatus));
    } else if mesh {
        probes.push(probe(AGENT_JOB, AGENT_PORT, "/readyz", Look::Answered));
        probes.push(probe(AGENT_JOB, AGENT_PORT, "/status", Look::AgentStatus));
    }
    let httpbins = facts.jobs.iter().filter(|job| job.name == HTTPBIN_JOB && job.command.is_none());
    probes.extend(httpbins.filter_map(|job| Some(probe(&job.name, *job.ports.first()?, "/get", Look::Answered))));
    probes
}

#[cfg(test)]
#[path = "job_config_tests.rs"]
mod tests;
