//! What the lab knows of a VM that is to be.

use std::net::Ipv4Addr;

use crate::{manifest::ManifestJob, name::InstanceName};

/// A VM, as the director wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmFacts {
    /// Deployment, group and index.
    pub name: InstanceName,
    /// Instance uuid.
    pub id: String,
    /// Availability zone; empty when the group names none.
    pub az: String,
    /// Address on the lab's network.
    pub ip: Ipv4Addr,
    /// The group's jobs, as the manifest has them.
    pub jobs: Vec<ManifestJob>,
}
