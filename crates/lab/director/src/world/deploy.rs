//! Deploys, deletions, and stopping and starting single instances, with the tasks and events of a director.

use boshy_mesh::Timestamp;
use serde_json::{Value, json};

use super::{
    Instance, InstanceState, TaskId, World,
    journal::Scribe,
    pending::Pending,
    plan::{self, Plan, Situation},
};
use crate::{DirectorError, cloud::CloudConfig, manifest::DeployManifest};
use boshy_director::wire::Event;

impl World {
    /// Deploys a manifest.
    ///
    /// # Errors
    /// When it is refused, at once or by its task.
    pub fn deploy(&mut self, manifest: &str, user: &str, now: Timestamp) -> Result<TaskId, DirectorError> {
        let task = self.submit(manifest, user, now)?;
        self.task(task).map(|_| task)
    }

    /// Deploys as in a director's answer: an error of the task is not an error of the answer.
    pub(in super::super) fn submit(
        &mut self,
        manifest: &str,
        user: &str,
        now: Timestamp,
    ) -> Result<TaskId, DirectorError> {
        let task = self.begin_deploy(manifest, user, now)?;
        self.finish_deploy(task, now);
        Ok(task)
    }

    /// First half of a deploy: the instances are in their intended state, the manifest is the previous one. The
    /// deployment is locked until [`World::finish_deploy`]. A failed task is not left pending.
    ///
    /// # Errors
    /// When the manifest is refused at once, or the deployment is locked.
    pub fn begin_deploy(&mut self, manifest: &str, user: &str, now: Timestamp) -> Result<TaskId, DirectorError> {
        let (name, wanted) = DeployManifest::parse(manifest)?;
        self.refuse_locked(&name)?;
        let task = self.journal.begin_task("create deployment", true, &name, user, now);
        let scribe = Scribe { task, user: user.to_owned(), deployment: name.clone(), now };
        let is_new = !self.deployments.contains_key(&name);
        let record = self.deployments.entry(name.clone()).or_default();
        let (previous, existing) = (record.wanted.clone(), record.instances.clone());
        self.journal.record(scribe.lock("acquire"));
        let taken = self.taken_addresses();
        let cloud = self.configs.latest("cloud", "default").map_or("{}", |config| config.content.as_str());
        let planned = CloudConfig::parse(cloud).and_then(|cloud| {
            let situation = Situation { cloud: &cloud, existing: &existing, previous: &previous, taken, now };
            plan::plan(situation, &wanted, &mut self.ids)
        });
        match planned {
            Ok(plan) => {
                self.lock_releases(&scribe, &wanted);
                self.narrate(&scribe, &plan);
                let context_before = if is_new { json!({}) } else { context(&previous) };
                if let Some(record) = self.deployments.get_mut(&name) {
                    record.instances = plan.instances;
                    record.wanted = wanted;
                }
                let pending = Pending { name, text: manifest.to_owned(), scribe, context_before };
                self.pending.insert(task, pending);
            }
            Err(error) => self.fail_deploy(&scribe, is_new, &error),
        }
        Ok(task)
    }

    /// Second half of a deploy: its manifest becomes visible, and the lock is released. Does nothing for a task that is
    /// not pending.
    pub fn finish_deploy(&mut self, task: TaskId, now: Timestamp) {
        let Some(pending) = self.pending.remove(&task) else { return };
        let configs = self.latest_configs();
        let Some(record) = self.deployments.get_mut(&pending.name) else { return };
        record.configs = configs;
        let action = if record.manifest.is_none() { "create" } else { "update" };
        record.manifest = Some(pending.text);
        let after = context(&record.wanted);
        let scribe = Scribe { now, ..pending.scribe };
        let end =
            Event { context: json!({"before": pending.context_before, "after": after}), ..scribe.deployment(action) };
        self.journal.pair(scribe.deployment(action), end);
        self.journal.record(scribe.lock("release"));
        self.journal.end_task(task, format!("/deployments/{}", pending.name), now);
    }

    /// Shows these rows as the instances of a deployment from now on, and returns its manifest.
    ///
    /// # Errors
    /// When there is no such deployment, or it has no manifest.
    pub fn show_instances(&mut self, name: &str, rows: Vec<Value>) -> Result<String, DirectorError> {
        let text = self.deployment(name)?.manifest.clone().unwrap_or_default();
        if let Some(record) = self.deployments.get_mut(name) {
            record.shown_instances = Some(rows);
        }
        Ok(text)
    }

    /// Shows another text as the manifest of a deployment, like a director that accepts what this one refuses. The
    /// instances stay as they are.
    ///
    /// # Errors
    /// When there is no such deployment, or it is locked.
    pub fn replace_manifest(
        &mut self,
        name: &str,
        text: &str,
        user: &str,
        now: Timestamp,
    ) -> Result<TaskId, DirectorError> {
        self.refuse_locked(name)?;
        let context_before = context(&self.deployment(name)?.wanted);
        let task = self.journal.begin_task("create deployment", true, name, user, now);
        let scribe = Scribe { task, user: user.to_owned(), deployment: name.to_owned(), now };
        self.journal.record(scribe.lock("acquire"));
        let pending = Pending { name: name.to_owned(), text: text.to_owned(), scribe, context_before };
        self.pending.insert(task, pending);
        self.finish_deploy(task, now);
        Ok(task)
    }

    /// Deletes a deployment and its instances.
    ///
    /// # Errors
    /// When there is none, or it is locked.
    pub fn delete(&mut self, name: &str, user: &str, now: Timestamp) -> Result<TaskId, DirectorError> {
        self.refuse_locked(name)?;
        let record = self.deployments.remove(name).ok_or_else(|| DirectorError::no_deployment(name))?;
        let task = self.journal.begin_task(&format!("delete deployment {name}"), true, name, user, now);
        let scribe = Scribe { task, user: user.to_owned(), deployment: name.to_owned(), now };
        let parent_id = Some(self.journal.record(scribe.deployment("delete")));
        self.journal.record(scribe.lock("acquire"));
        for instance in &record.instances {
            self.narrate_deletion(&scribe, instance);
        }
        self.journal.stage(&scribe, "Deleting instances", &[], &steps(&record.instances));
        self.journal.record(Event { parent_id, ..scribe.deployment("delete") });
        self.journal.record(scribe.lock("release"));
        self.journal.end_task(task, format!("/deployments/{name}"), now);
        Ok(task)
    }

    /// Stops an instance and deletes its VM; its addresses stay reserved.
    ///
    /// # Errors
    /// When there is no such instance, or its deployment is locked.
    pub fn stop_hard(&mut self, at: (&str, &str, &str), user: &str, now: Timestamp) -> Result<TaskId, DirectorError> {
        let (scribe, index) = self.begin_on_instance("stop", at, user, now)?;
        let Some(instance) = self.instance_mut(at.0, index) else { return Ok(scribe.task) };
        instance.state = InstanceState::Detached;
        let (name, vm) = (instance.name(), instance.vm.take());
        self.journal.pair(scribe.instance("stop", &name), scribe.instance("stop", &name));
        if let Some(vm) = vm {
            self.narrate_vm_deletion(&scribe, &vm.cid, &name);
        }
        Ok(self.end_on_instance(&scribe, &name))
    }

    /// Starts a stopped instance, with a new VM when it has none.
    ///
    /// # Errors
    /// When there is no such instance, or its deployment is locked.
    pub fn start(&mut self, at: (&str, &str, &str), user: &str, now: Timestamp) -> Result<TaskId, DirectorError> {
        let (scribe, index) = self.begin_on_instance("start", at, user, now)?;
        let vm = plan::new_vm(&mut self.ids, now);
        let Some(instance) = self.instance_mut(at.0, index) else { return Ok(scribe.task) };
        instance.state = InstanceState::Started;
        let name = instance.name();
        if instance.vm.is_none() && !instance.errand {
            let cid = vm.cid.clone();
            instance.vm = Some(vm);
            self.journal.pair(scribe.vm("create", None, &name), scribe.vm("create", Some(cid), &name));
        }
        self.journal.pair(scribe.instance("start", &name), scribe.instance("start", &name));
        Ok(self.end_on_instance(&scribe, &name))
    }

    fn begin_on_instance(
        &mut self,
        verb: &str,
        (deployment, group, id): (&str, &str, &str),
        user: &str,
        now: Timestamp,
    ) -> Result<(Scribe, usize), DirectorError> {
        self.refuse_locked(deployment)?;
        let index = self.find(deployment, group, id)?;
        let task = self.journal.begin_task(&format!("{verb} instance"), true, deployment, user, now);
        let scribe = Scribe { task, user: user.to_owned(), deployment: deployment.to_owned(), now };
        self.journal.record(scribe.lock("acquire"));
        Ok((scribe, index))
    }

    fn end_on_instance(&mut self, scribe: &Scribe, instance: &str) -> TaskId {
        self.journal.record(scribe.lock("release"));
        self.journal.end_task(scribe.task, instance, scribe.now);
        scribe.task
    }

    /// Position of an instance by uuid or index.
    pub(in super::super) fn find(&self, deployment: &str, group: &str, id: &str) -> Result<usize, DirectorError> {
        let is_it =
            |instance: &Instance| instance.group == group && (instance.id == id || instance.index.to_string() == id);
        let found = self.deployment(deployment)?.instances.iter().position(is_it);
        found.ok_or_else(|| DirectorError::no_instance(deployment, group, id))
    }

    fn instance_mut(&mut self, deployment: &str, index: usize) -> Option<&mut Instance> {
        self.deployments.get_mut(deployment)?.instances.get_mut(index)
    }

    /// Immediate changes exist only on paper: with VMs, they are the work of a task.
    fn refuse_locked(&self, deployment: &str) -> Result<(), DirectorError> {
        if self.has_vms {
            return Err(DirectorError::new(400, 100, "This director has VMs: ask it by request"));
        }
        if self.is_locked(deployment) {
            let text = format!("Failed to acquire lock for lock:deployment:{deployment}");
            return Err(DirectorError::new(500, 100, text));
        }
        Ok(())
    }

    /// A real director releases the lock before it reports the failure.
    fn fail_deploy(&mut self, scribe: &Scribe, is_new: bool, error: &DirectorError) {
        self.journal.record(scribe.lock("release"));
        let action = if is_new { "create" } else { "update" };
        let end = Event { error: Some(error.description.clone()), ..scribe.deployment(action) };
        self.journal.pair(scribe.deployment(action), end);
        self.journal.fail_task(scribe.task, error, scribe.now);
    }

    fn lock_releases(&mut self, scribe: &Scribe, wanted: &DeployManifest) {
        for action in ["acquire", "release"] {
            for release in &wanted.releases {
                let name = format!("lock:release:{}", release.name);
                self.journal.record(scribe.foreign_lock(action, name));
            }
        }
    }

    /// Records the steps of a plan in a director's order.
    fn narrate(&mut self, scribe: &Scribe, plan: &Plan) {
        let step = |text: &str| vec![text.to_owned()];
        self.journal.stage(scribe, "Preparing deployment", &[], &step("Preparing deployment"));
        for instance in &plan.deleted {
            self.narrate_deletion(scribe, instance);
        }
        self.journal.stage(scribe, "Deleting unneeded instances", &[], &steps(&plan.deleted));
        let created: Vec<_> =
            plan.instances.iter().filter(|instance| plan.created.contains(&instance.id)).cloned().collect();
        let with_vm: Vec<_> = created.iter().filter(|instance| instance.vm.is_some()).cloned().collect();
        for instance in &with_vm {
            let (name, cid) = (instance.name(), instance.vm.as_ref().map(|vm| vm.cid.clone()));
            self.journal.pair(scribe.vm("create", None, &name), scribe.vm("create", cid, &name));
        }
        self.journal.stage(scribe, "Creating missing vms", &[], &steps(&with_vm));
        for instance in &plan.instances {
            self.narrate_update(scribe, plan, instance);
        }
    }

    fn narrate_update(&mut self, scribe: &Scribe, plan: &Plan, instance: &Instance) {
        let name = instance.name();
        let (action, context) = if plan.created.contains(&instance.id) {
            ("create", json!({"az": instance.az}))
        } else if plan.updated.contains(&instance.id) {
            ("update", json!({"az": instance.az, "changes": ["configuration"]}))
        } else {
            return;
        };
        let start = Event { context, ..scribe.instance(action, &name) };
        self.journal.pair(start, scribe.instance(action, &name));
        self.journal.stage(scribe, "Updating instance", &[&instance.group], &steps(std::slice::from_ref(instance)));
    }

    fn narrate_deletion(&mut self, scribe: &Scribe, instance: &Instance) {
        let name = instance.name();
        let parent_id = Some(self.journal.record(scribe.instance("delete", &name)));
        if let Some(vm) = &instance.vm {
            self.narrate_vm_deletion(scribe, &vm.cid, &name);
        }
        self.journal.record(Event { parent_id, ..scribe.instance("delete", &name) });
    }

    fn narrate_vm_deletion(&mut self, scribe: &Scribe, cid: &str, instance: &str) {
        let event = || scribe.vm("delete", Some(cid.to_owned()), instance);
        let parent_id = Some(self.journal.record(event()));
        for action in ["acquire", "release"] {
            self.journal.record(scribe.foreign_lock(action, format!("lock:vm:{cid}")));
        }
        self.journal.record(Event { parent_id, ..event() });
    }
}

fn steps(instances: &[Instance]) -> Vec<String> {
    instances.iter().map(|instance| format!("{} ({})", instance.name(), instance.index)).collect()
}

fn context(manifest: &DeployManifest) -> Value {
    let names = |rows: Vec<boshy_director::wire::NameVersion>| {
        rows.into_iter().map(|row| format!("{}/{}", row.name, row.version)).collect::<Vec<_>>()
    };
    json!({"releases": names(manifest.releases.clone()), "stemcells": names(manifest.stemcell_rows())})
}
