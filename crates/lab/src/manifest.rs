//! The part of a deployment manifest that tells the lab what to run: which jobs a group has.
//!
//! What a manifest exposes is judged by the mesh. Here an entry of `expose_ports` that is wrong is passed over, so that a
//! lab can show what the mesh says to it.

use std::collections::BTreeMap;

use boshy_director::yaml::{self, Limits};
use serde::Deserialize;
use serde_json::Value;

use crate::error::LabError;

/// A job of an instance group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct ManifestJob {
    /// Name.
    pub name: String,
    /// Numbers under `expose_ports`, in the order written.
    pub ports: Vec<u16>,
    /// The property `lab.command`: what the lab's shell runs for the job.
    pub command: Option<String>,
}

#[derive(Deserialize)]
struct Written {
    name: String,
    #[serde(default)]
    expose_ports: Value,
    #[serde(default)]
    properties: Value,
}

impl From<Written> for ManifestJob {
    fn from(written: Written) -> Self {
        let entries = written.expose_ports.as_array().map(Vec::as_slice).unwrap_or_default();
        let number = |entry: &Value| entry["number"].as_u64().and_then(|number| u16::try_from(number).ok());
        Self {
            name: written.name,
            ports: entries.iter().filter_map(number).collect(),
            command: written.properties["lab"]["command"].as_str().map(str::to_owned),
        }
    }
}

#[derive(Deserialize)]
struct Manifest {
    instance_groups: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    jobs: Option<Vec<ManifestJob>>,
}

/// The jobs of every instance group.
pub(crate) fn jobs_by_group(manifest: &str) -> Result<BTreeMap<String, Vec<ManifestJob>>, LabError> {
    let manifest: Manifest = yaml::from_text(manifest, &Limits::default()).map_err(|source| LabError::Manifest {
        operation: "reading the jobs of a manifest".to_owned(),
        source: Box::new(source),
    })?;
    let groups = manifest.instance_groups.unwrap_or_default();
    Ok(groups.into_iter().map(|group| (group.name, group.jobs.unwrap_or_default())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(written: &str) -> ManifestJob {
        let manifest = format!("instance_groups: [{{name: web, jobs: [{written}]}}]");
        jobs_by_group(&manifest).unwrap().remove("web").unwrap().remove(0)
    }

    #[test]
    fn a_job_has_its_ports_and_its_command() {
        let written = "{name: j, expose_ports: [{name: a, number: 9001}, {name: b, number: 9002}], properties: {lab: {command: run it}}}";
        let wanted = ManifestJob { name: "j".to_owned(), ports: vec![9001, 9002], command: Some("run it".to_owned()) };
        assert_eq!(job(written), wanted);
    }

    #[test]
    fn what_the_mesh_will_refuse_does_not_keep_a_vm_from_being_made() {
        for ports in ["no list", "[1]", "[{number: 70000}]", "[{number: ((port))}]", "{}", "~"] {
            let written = format!("{{name: j, expose_ports: {ports}, properties: [odd]}}");
            assert_eq!(job(&written), ManifestJob { name: "j".to_owned(), ..ManifestJob::default() }, "{ports}");
        }
    }
}
