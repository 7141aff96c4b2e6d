//! The part of a deployment manifest that tells the lab what to run: which jobs a group has.
//!
//! What a manifest exposes is read by the mesh through the director; here only a job's first port and the lab's own
//! property `lab.command` are of interest.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::LabError;

/// A job of an instance group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ManifestJob {
    /// Name.
    pub name: String,
    /// What it exposes.
    #[serde(default)]
    pub expose_ports: Vec<ManifestPort>,
    /// Its properties.
    #[serde(default)]
    pub properties: ManifestProperties,
}

/// An entry of `expose_ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ManifestPort {
    /// Label.
    #[serde(default)]
    pub name: String,
    /// Port.
    pub number: u16,
}

/// The properties that mean something to the lab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ManifestProperties {
    /// `lab`.
    #[serde(default)]
    pub lab: LabProperties,
}

/// The property `lab` of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct LabProperties {
    /// Shell command that the lab runs for the job.
    #[serde(default)]
    pub command: Option<String>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    instance_groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    #[serde(default)]
    jobs: Vec<ManifestJob>,
}

/// The jobs of every instance group.
pub(crate) fn jobs_by_group(manifest: &str) -> Result<BTreeMap<String, Vec<ManifestJob>>, LabError> {
    let manifest: Manifest = serde_saphyr::from_str(manifest).map_err(|source| LabError::Manifest {
        operation: "reading the jobs of a manifest".to_owned(),
        source: Box::new(source),
    })?;
    Ok(manifest.instance_groups.into_iter().map(|group| (group.name, group.jobs)).collect())
}
