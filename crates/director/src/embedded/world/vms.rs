//! What the director knows of its VMs, beside what it shows: what they were made of, and what was applied to them.

use std::{net::Ipv4Addr, sync::Arc};

use super::{ConfigIds, Instance, InstanceState, TaskId, Vm, World, plan::new_vm};
use crate::embedded::{ApplySpec, DirectorError, VmSpec, manifest::DeployManifest};
use boshy_mesh::Timestamp;

/// How many downloads are kept.
const MAX_BLOBS: usize = 8;

/// What a VM is made of. Another one needs another VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::embedded) struct VmShape {
    pub(in crate::embedded) os: String,
    pub(in crate::embedded) stemcell: String,
    pub(in crate::embedded) vm_type: Option<String>,
    pub(in crate::embedded) networks: Vec<(String, Ipv4Addr)>,
}

/// A VM as the director left it.
#[derive(Clone, Debug)]
pub(in crate::embedded) struct VmFacts {
    pub(in crate::embedded) shape: VmShape,
    pub(in crate::embedded) applied: Option<Arc<ApplySpec>>,
    /// Whether an update began that did not end well.
    pub(in crate::embedded) dirty: bool,
    /// Version of `records.json` that it has.
    pub(in crate::embedded) dns: u64,
}

impl World {
    /// The configs that a deploy uses when nothing else is said.
    pub(in crate::embedded) fn latest_configs(&self) -> ConfigIds {
        let ids = |kind: &str| self.configs.latest_of(kind).map(|config| config.id.clone()).collect();
        ConfigIds { cloud: ids("cloud"), runtime: ids("runtime") }
    }

    /// The first cloud config of some.
    ///
    /// # Errors
    /// When there is none.
    pub(in crate::embedded) fn cloud_config(&self, ids: &ConfigIds) -> Result<&str, DirectorError> {
        let first = ids.cloud.first().map(String::as_str).unwrap_or_default();
        let missing =
            || DirectorError::new(400, 440_003, "No cloud config uploaded: run 'bosh update-cloud-config' first");
        self.configs.content(first).ok_or_else(missing)
    }

    /// The name that a manifest has.
    ///
    /// # Errors
    /// When it is refused at once.
    pub(in crate::embedded) fn deployment_name(&self, manifest: &str) -> Result<String, DirectorError> {
        DeployManifest::parse(manifest).map(|(name, _)| name)
    }

    pub(in crate::embedded) fn hold(&mut self, deployment: &str, task: TaskId) {
        self.held.insert(deployment.to_owned(), task);
    }

    pub(in crate::embedded) fn release(&mut self, deployment: &str, task: TaskId) {
        self.held.remove(deployment);
        self.reserved.remove(&task);
    }

    /// Keeps the addresses of instances to be from others until the task ends.
    pub(in crate::embedded) fn reserve(&mut self, task: TaskId, instances: &[Instance]) {
        let ips = instances.iter().flat_map(|instance| instance.networks.iter().map(|(_, ip)| *ip));
        self.reserved.insert(task, ips.collect());
    }

    pub(in crate::embedded) fn new_vm(&mut self, now: Timestamp) -> Vm {
        new_vm(&mut self.ids, now)
    }

    pub(in crate::embedded) fn ids(&mut self) -> &mut super::Ids {
        &mut self.ids
    }

    fn change_instance(&mut self, deployment: &str, id: &str, change: impl FnOnce(&mut Instance)) {
        let record = self.deployments.get_mut(deployment);
        let instance = record.and_then(|record| record.instances.iter_mut().find(|instance| instance.id == id));
        if let Some(instance) = instance {
            change(instance);
        }
    }

    pub(in crate::embedded) fn set_state(&mut self, deployment: &str, id: &str, state: InstanceState) {
        self.change_instance(deployment, id, |instance| instance.state = state);
    }

    /// A VM has been made for an instance.
    pub(in crate::embedded) fn bind_vm(&mut self, deployment: &str, wanted: &Instance, shape: VmShape) {
        self.change_instance(deployment, &wanted.id, |instance| {
            instance.vm.clone_from(&wanted.vm);
            instance.networks.clone_from(&wanted.networks);
            instance.state = wanted.state;
        });
        if let Some(vm) = &wanted.vm {
            self.vms.insert(vm.cid.clone(), VmFacts { shape, applied: None, dirty: true, dns: 0 });
        }
        self.dns.bind(deployment, wanted);
    }

    /// A VM is gone; its addresses stay with the instance.
    pub(in crate::embedded) fn unbind_vm(&mut self, deployment: &str, id: &str, cid: &str) {
        self.change_instance(deployment, id, |instance| {
            if instance.vm.as_ref().is_some_and(|vm| vm.cid == cid) {
                instance.vm = None;
            }
        });
        self.vms.remove(cid);
    }

    pub(in crate::embedded) fn remove_instance(&mut self, deployment: &str, id: &str) {
        if let Some(record) = self.deployments.get_mut(deployment) {
            record.instances.retain(|instance| instance.id != id);
        }
        self.dns.unbind(id);
        self.last.remove(id);
    }

    /// Remembers what an instance was made of, for the day its VM is made anew.
    pub(in crate::embedded) fn set_last(&mut self, id: &str, shape: VmShape, spec: Arc<ApplySpec>) {
        self.last.insert(id.to_owned(), (shape, spec));
    }

    pub(in crate::embedded) fn last(&self, id: &str) -> Option<(VmShape, Arc<ApplySpec>)> {
        self.last.get(id).cloned()
    }

    pub(in crate::embedded) fn touch_vm(&mut self, cid: &str, change: impl FnOnce(&mut VmFacts)) {
        if let Some(facts) = self.vms.get_mut(cid) {
            change(facts);
        }
    }

    /// VMs that lack the newest records, with them.
    pub(in crate::embedded) fn behind(&mut self) -> (u64, Arc<str>, Vec<String>) {
        let (version, text) = self.dns.publish();
        let behind = self.vms.iter().filter(|(_, facts)| facts.dns < version).map(|(cid, _)| cid.clone()).collect();
        (version, text, behind)
    }

    /// Keeps bytes for a download and names them.
    pub(in crate::embedded) fn keep_blob(&mut self, bytes: Vec<u8>) -> String {
        let id = self.ids.uuid();
        self.blobs.push_back((id.clone(), bytes.into()));
        if self.blobs.len() > MAX_BLOBS {
            self.blobs.pop_front();
        }
        id
    }

    pub(in crate::embedded) fn blob(&self, id: &str) -> Option<Arc<[u8]>> {
        self.blobs.iter().find(|(known, _)| known == id).map(|(_, bytes)| Arc::clone(bytes))
    }
}

impl VmShape {
    /// What a CPI needs to know to make the VM of an instance.
    pub(in crate::embedded) fn spec(&self, deployment: &str, instance: &Instance, vm: &Vm) -> VmSpec {
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
