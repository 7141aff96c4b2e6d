//! The director's internal facts about its VMs: their shape, and what was applied to them.

use std::sync::Arc;

use super::{ConfigIds, Instance, InstanceState, TaskId, Vm, VmFacts, VmShape, World, plan::new_vm};
use crate::{ApplySpec, DirectorError, manifest::DeployManifest};
use boshy_mesh::Timestamp;

/// Number of downloads kept.
const MAX_BLOBS: usize = 8;

impl World {
    /// The configs that a deploy uses by default.
    pub(crate) fn latest_configs(&self) -> ConfigIds {
        let ids = |kind: &str| self.configs.latest_of(kind).map(|config| config.id.clone()).collect();
        ConfigIds { cloud: ids("cloud"), runtime: ids("runtime") }
    }

    /// The first of the given cloud configs.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn cloud_config(&self, ids: &ConfigIds) -> Result<&str, DirectorError> {
        let first = ids.cloud.first().map(String::as_str).unwrap_or_default();
        let missing =
            || DirectorError::new(400, 440_003, "No cloud config uploaded: run 'bosh update-cloud-config' first");
        self.configs.content(first).ok_or_else(missing)
    }

    /// The name in a manifest.
    ///
    /// # Errors
    /// When it is refused at once.
    pub(crate) fn deployment_name(&self, manifest: &str) -> Result<String, DirectorError> {
        DeployManifest::parse(manifest).map(|(name, _)| name)
    }

    pub(crate) fn hold(&mut self, deployment: &str, task: TaskId) {
        self.held.insert(deployment.to_owned(), task);
    }

    pub(crate) fn release(&mut self, deployment: &str, task: TaskId) {
        self.held.remove(deployment);
        self.reserved.remove(&task);
    }

    /// Reserves the addresses of planned instances until the task ends.
    pub(crate) fn reserve(&mut self, task: TaskId, instances: &[Instance]) {
        let ips = instances.iter().flat_map(|instance| instance.networks.iter().map(|(_, ip)| *ip));
        self.reserved.insert(task, ips.collect());
    }

    pub(crate) fn new_vm(&mut self, now: Timestamp) -> Vm {
        new_vm(&mut self.ids, now)
    }

    pub(crate) fn ids(&mut self) -> &mut super::Ids {
        &mut self.ids
    }

    fn change_instance(&mut self, deployment: &str, id: &str, change: impl FnOnce(&mut Instance)) {
        let record = self.deployments.get_mut(deployment);
        let instance = record.and_then(|record| record.instances.iter_mut().find(|instance| instance.id == id));
        if let Some(instance) = instance {
            change(instance);
        }
    }

    pub(crate) fn set_state(&mut self, deployment: &str, id: &str, state: InstanceState) {
        self.change_instance(deployment, id, |instance| instance.state = state);
    }

    /// A VM was created for an instance.
    pub(crate) fn bind_vm(&mut self, deployment: &str, wanted: &Instance, shape: VmShape) {
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

    /// A VM was deleted; the instance keeps its addresses.
    pub(crate) fn unbind_vm(&mut self, deployment: &str, id: &str, cid: &str) {
        self.change_instance(deployment, id, |instance| {
            if instance.vm.as_ref().is_some_and(|vm| vm.cid == cid) {
                instance.vm = None;
            }
        });
        self.vms.remove(cid);
    }

    pub(crate) fn remove_instance(&mut self, deployment: &str, id: &str) {
        if let Some(record) = self.deployments.get_mut(deployment) {
            record.instances.retain(|instance| instance.id != id);
        }
        self.dns.unbind(id);
        self.last.remove(id);
    }

    /// Stores the shape and spec of an instance, for when its VM is recreated.
    pub(crate) fn set_last(&mut self, id: &str, shape: VmShape, spec: Arc<ApplySpec>) {
        self.last.insert(id.to_owned(), (shape, spec));
    }

    pub(crate) fn last(&self, id: &str) -> Option<(VmShape, Arc<ApplySpec>)> {
        self.last.get(id).cloned()
    }

    pub(crate) fn touch_vm(&mut self, cid: &str, change: impl FnOnce(&mut VmFacts)) {
        if let Some(facts) = self.vms.get_mut(cid) {
            change(facts);
        }
    }

    /// VMs without the latest records, and these records.
    pub(crate) fn behind(&mut self) -> (u64, Arc<str>, Vec<String>) {
        let (version, text) = self.dns.publish();
        let behind = self.vms.iter().filter(|(_, facts)| facts.dns < version).map(|(cid, _)| cid.clone()).collect();
        (version, text, behind)
    }

    /// Stores bytes for download and returns their id.
    pub(crate) fn keep_blob(&mut self, bytes: Vec<u8>) -> String {
        let id = self.ids.uuid();
        self.blobs.push_back((id.clone(), bytes.into()));
        if self.blobs.len() > MAX_BLOBS {
            self.blobs.pop_front();
        }
        id
    }

    pub(crate) fn blob(&self, id: &str) -> Option<Arc<[u8]>> {
        self.blobs.iter().find(|(known, _)| known == id).map(|(_, bytes)| Arc::clone(bytes))
    }
}
