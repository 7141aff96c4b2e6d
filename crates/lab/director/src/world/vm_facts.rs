//! What a director knows of a VM.

use std::{net::Ipv4Addr, sync::Arc};

use super::{Instance, Vm};
use crate::{ApplySpec, VmSpec};

/// The shape of a VM. Another shape requires another VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VmShape {
    pub(crate) os: String,
    pub(crate) stemcell: String,
    pub(crate) vm_type: Option<String>,
    pub(crate) networks: Vec<(String, Ipv4Addr)>,
}

/// A VM in its last known state.
#[derive(Clone, Debug)]
pub(crate) struct VmFacts {
    pub(crate) shape: VmShape,
    pub(crate) applied: Option<Arc<ApplySpec>>,
    /// Whether an update has begun and did not succeed.
    pub(crate) dirty: bool,
    /// Version of its `records.json`.
    pub(crate) dns: u64,
}

impl VmShape {
    /// The VM spec that a CPI needs for an instance.
    pub(crate) fn spec(&self, deployment: &str, instance: &Instance, vm: &Vm) -> VmSpec {
        VmSpec {
            cid: vm.cid.clone(),
            agent_id: vm.agent_id.clone(),
            deployment: deployment.to_owned(),
            group: instance.group.clone(),
            index: instance.index,
            id: instance.id.clone(),
            az: instance.az.clone(),
            stemcell_os: self.os.clone(),
            networks: instance.networks.clone(),
        }
    }
}
