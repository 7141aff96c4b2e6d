//! The embedded director's state and its changes. Pure: callers supply the time, and ids come from a seed.
//!
//! A deploy is one step, or two when a test wants to see the state in between: a real director shows new instances
//! first, and the new manifest only when everything is updated.

mod changes;
mod configs;
mod configure;
mod deploy;
mod dns;
mod ids;
mod journal;
mod link_ids;
mod pending;
mod plan;
mod queue;
mod record;
mod rollout;
mod vm_facts;
mod vms;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
};

use boshy_mesh::Timestamp;

pub(super) use self::{
    changes::{Agent, Asked, Change},
    configs::{ConfigFilter, ConfigRef, Configs, PostRefused},
    dns::{Dns, DnsAlias, DnsLinks},
    journal::{Journal, Progress, Scribe, Step, TaskRecord},
    link_ids::{LinkIds, LinkKey, LinkTable},
    plan::{Plan, Situation, plan},
    record::{DeploymentRecord, InUse},
    rollout::Rollout,
    vm_facts::{VmFacts, VmShape},
    work::{Action, ConfigIds, Converge, DeployOrder, IsolatedOrder, Job, SkipDrain, Target, UploadOrder, Work},
};
use self::{ids::Ids, pending::Pending};
pub use self::{
    journal::TaskId,
    record::{Instance, InstanceState, Vm},
};
use super::{ApplySpec, DirectorError, stores::Stores};
use boshy_director::wire::{ConfigPost, Lock, TaskState};

/// Reported duration of a lock.
const LOCK_SECONDS: u64 = 10;

/// State of a director.
#[derive(Debug)]
pub struct World {
    pub(super) deployments: BTreeMap<String, DeploymentRecord>,
    pub(super) configs: Configs,
    pub(super) journal: Journal,
    pending: BTreeMap<TaskId, Pending>,
    ids: Ids,
    pub(super) link_ids: LinkIds,
    /// Whether there are VMs. If so, tasks take time and are queued for a worker.
    pub(super) has_vms: bool,
    pub(super) stores: Stores,
    queue: Vec<Job>,
    held: BTreeMap<String, TaskId>,
    /// Addresses that running tasks will assign.
    reserved: BTreeMap<TaskId, BTreeSet<Ipv4Addr>>,
    pub(super) dns: Dns,
    pub(super) vms: BTreeMap<String, VmFacts>,
    /// The last shape and spec of each instance, by uuid.
    last: BTreeMap<String, (VmShape, Arc<ApplySpec>)>,
    blobs: VecDeque<(String, Arc<[u8]>)>,
}

/// Deployments at one moment, for code that creates their VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorldView {
    /// By name.
    pub deployments: Vec<DeploymentView>,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentView {
    /// Name.
    pub name: String,
    /// Text of the last successful deploy.
    pub manifest: Option<Arc<str>>,
    /// Its instances, ordered by group (as in the manifest) and index.
    pub instances: Vec<Instance>,
}

impl World {
    /// A world without deployments. `seed` determines all ids; `record_events` is false for a director that does not
    /// record events.
    ///
    /// # Errors
    /// When the cloud config cannot be used.
    pub fn new(cloud_config: &str, record_events: bool, seed: u64) -> Result<Self, DirectorError> {
        super::cloud::CloudConfig::parse(cloud_config)?;
        let mut configs = Configs::default();
        let post = ConfigPost {
            kind: Some("cloud".to_owned()),
            name: Some("default".to_owned()),
            content: Some(cloud_config.to_owned()),
            expected_latest_id: None,
        };
        match configs.post(&post, Timestamp(0)) {
            Ok(_) => {}
            Err(PostRefused::Bad(error)) => return Err(error),
            Err(PostRefused::Conflict(conflict)) => return Err(DirectorError::bad_config(conflict.description)),
        }
        Ok(Self {
            deployments: BTreeMap::new(),
            configs,
            journal: Journal::new(record_events),
            pending: BTreeMap::new(),
            ids: Ids::new(seed),
            link_ids: LinkIds::default(),
            has_vms: false,
            stores: Stores::new(PathBuf::new(), ""),
            queue: Vec::new(),
            held: BTreeMap::new(),
            reserved: BTreeMap::new(),
            dns: Dns::default(),
            vms: BTreeMap::new(),
            last: BTreeMap::new(),
            blobs: VecDeque::new(),
        })
    }

    /// Deployments as they are now.
    pub fn view(&self) -> WorldView {
        let view = |(name, record): (&String, &DeploymentRecord)| DeploymentView {
            name: name.clone(),
            manifest: record.manifest.as_deref().map(Arc::from),
            instances: record.instances.clone(),
        };
        WorldView { deployments: self.deployments.iter().map(view).collect() }
    }

    /// State of a task, and why it failed.
    ///
    /// # Errors
    /// When there is no such task, or it failed.
    pub fn task(&self, id: TaskId) -> Result<TaskState, DirectorError> {
        let record = self.journal.task(id).ok_or_else(|| DirectorError::no_task(&id.to_string()))?;
        record.error.clone().map_or(Ok(record.task.state), Err)
    }

    pub(super) fn deployment(&self, name: &str) -> Result<&DeploymentRecord, DirectorError> {
        self.deployments.get(name).ok_or_else(|| DirectorError::no_deployment(name))
    }

    pub(super) fn is_locked(&self, deployment: &str) -> bool {
        self.held.contains_key(deployment) || self.pending.values().any(|pending| pending.name == deployment)
    }

    pub(super) fn locks(&self, now: Timestamp) -> Vec<Lock> {
        let lock = |(task, deployment): (&TaskId, &String)| Lock {
            kind: "deployment".to_owned(),
            resource: vec![deployment.clone()],
            timeout: format!("{}.0", now.0 + LOCK_SECONDS),
            task_id: task.to_string(),
        };
        let pending = self.pending.iter().map(|(task, pending)| (task, &pending.name));
        pending.chain(self.held.iter().map(|(deployment, task)| (task, deployment))).map(lock).collect()
    }

    /// A task that is completed at once, with an output for its sender.
    pub(super) fn report(
        &mut self,
        description: &str,
        deployment: &str,
        user: &str,
        output: String,
        now: Timestamp,
    ) -> TaskId {
        let task = self.journal.begin_task(description, false, deployment, user, now);
        self.journal.set_result_output(task, output);
        self.journal.end_task(task, "", now);
        task
    }

    pub(super) fn taken_addresses(&self) -> BTreeSet<Ipv4Addr> {
        let instances = self.deployments.values().flat_map(|record| &record.instances);
        let given = instances.flat_map(|instance| instance.networks.iter().map(|(_, ip)| *ip));
        given.chain(self.reserved.values().flatten().copied()).collect()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
