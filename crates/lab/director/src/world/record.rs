//! The director's tables of deployments and instances, and their output.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use boshy_mesh::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{AgentState, ProcessState, clock, manifest::DeployManifest, resolve::Resolved},
    ConfigIds,
};
use boshy_director::wire::{FullRow, InstanceRow, JobInstance, NameVersion, Process, StemcellOf, VmRow};

/// Intended state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Runs.
    Started,
    /// Has a VM, but its processes are stopped.
    Stopped,
    /// Has no VM.
    Detached,
}

impl InstanceState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Detached => "detached",
        }
    }
}

/// A VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// Cid of the VM.
    pub cid: String,
    /// Its agent id.
    pub agent_id: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Instance group.
    pub group: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// Addresses by network. They are kept without a VM.
    pub networks: Vec<(String, Ipv4Addr)>,
    /// Its intended state.
    pub state: InstanceState,
    /// Whether it belongs to an errand.
    pub errand: bool,
    /// Its VM.
    pub vm: Option<Vm>,
}

/// A deployment.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct DeploymentRecord {
    /// Text of the last successful deploy.
    pub(in super::super) manifest: Option<String>,
    /// The manifest of the last deploy, completed or in progress.
    pub(in super::super) wanted: DeployManifest,
    pub(in super::super) instances: Vec<Instance>,
    /// Rows to show instead of the actual ones.
    pub(in super::super) shown_instances: Option<Vec<Value>>,
    /// Teams that own it.
    pub(in super::super) teams: Vec<String>,
    /// The configs of the last deploy on paper, where they have no effect.
    pub(in super::super) configs: ConfigIds,
    /// Releases, stemcells and configs in use, including those of addons; `None` on paper, where the manifest is used.
    pub(in super::super) in_use: Option<InUse>,
    /// Result of the last deploy, as links of other deployments need it; `None` on paper, and before a deploy was
    /// resolved.
    pub(in super::super) resolved: Option<Arc<Resolved>>,
}

/// Releases, stemcells and configs of the last deploy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct InUse {
    pub(in super::super) releases: Vec<NameVersion>,
    pub(in super::super) stemcells: Vec<NameVersion>,
    pub(in super::super) configs: ConfigIds,
}

impl DeploymentRecord {
    /// Releases in use, including those of addons.
    pub(in super::super) fn releases(&self) -> &[NameVersion] {
        self.in_use.as_ref().map_or(&self.wanted.releases, |in_use| &in_use.releases)
    }

    /// Stemcells in use.
    pub(in super::super) fn stemcells(&self) -> Vec<NameVersion> {
        self.in_use.as_ref().map_or_else(|| self.wanted.stemcell_rows(), |in_use| in_use.stemcells.clone())
    }

    /// Context of its events.
    pub(in super::super) fn context(&self) -> Value {
        let names =
            |rows: &[NameVersion]| rows.iter().map(|row| format!("{}/{}", row.name, row.version)).collect::<Vec<_>>();
        json!({"releases": names(self.releases()), "stemcells": names(&self.stemcells())})
    }
}

impl Instance {
    /// `GROUP/ID (INDEX)`, as in tasks.
    pub(in super::super) fn title(&self) -> String {
        format!("{} ({})", self.name(), self.index)
    }

    /// `GROUP/ID`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.group, self.id)
    }

    /// Addresses of its VM in numerical order; empty without a VM.
    pub fn ips(&self) -> Vec<IpAddr> {
        let mut ips: Vec<_> = self.networks.iter().map(|(_, ip)| IpAddr::V4(*ip)).collect();
        ips.sort();
        if self.vm.is_some() { ips } else { Vec::new() }
    }

    /// Whether it should have a VM.
    pub fn expects_vm(&self) -> bool {
        self.state != InstanceState::Detached && !self.errand
    }

    fn shown_ips(&self) -> Vec<String> {
        self.ips().iter().map(ToString::to_string).collect()
    }

    fn vm_created_at(&self) -> Option<String> {
        self.vm.as_ref().map(|vm| clock::iso(vm.created_at))
    }

    pub(in super::super) fn row(&self) -> InstanceRow {
        InstanceRow {
            agent_id: self.vm.as_ref().map(|vm| vm.agent_id.clone()),
            cid: self.vm.as_ref().map(|vm| vm.cid.clone()),
            job: self.group.clone(),
            index: Some(self.index),
            id: self.id.clone(),
            az: self.az.clone(),
            ips: self.shown_ips(),
            vm_created_at: self.vm_created_at(),
            expects_vm: self.expects_vm(),
            unreadable: Vec::new(),
        }
    }

    pub(in super::super) fn vm_row(&self) -> Option<VmRow> {
        let vm = self.vm.as_ref()?;
        Some(VmRow {
            agent_id: Some(vm.agent_id.clone()),
            cid: Some(vm.cid.clone()),
            job: self.group.clone(),
            index: self.index,
            id: self.id.clone(),
            az: self.az.clone(),
            ips: self.shown_ips(),
            vm_created_at: self.vm_created_at(),
            active: true,
            permanent_nats_credentials: true,
        })
    }

    pub(in super::super) fn job_row(&self, deployment: &str) -> JobInstance {
        JobInstance {
            deployment: deployment.to_owned(),
            job: self.group.clone(),
            index: self.index,
            id: self.id.clone(),
            state: self.state.as_str().to_owned(),
            disks: Vec::new(),
        }
    }

    /// A plausible report of its agent: as many processes as its group has jobs, all in the intended state.
    pub(in super::super) fn full_row(&self, record: &DeploymentRecord) -> FullRow {
        let group = record.wanted.instance_groups.iter().find(|group| group.name == self.group);
        let job_state = if self.state == InstanceState::Started { "running" } else { "stopped" };
        let process = |name: &str| Process {
            name: name.to_owned(),
            state: (if self.state == InstanceState::Started { "running" } else { "unknown" }).to_owned(),
            uptime: json!({"secs": 60}),
            mem: json!({"kb": 20_480, "percent": 0.5}),
            cpu: json!({"total": 0.1}),
        };
        let jobs = group.map_or(&[][..], |group| &group.jobs);
        let has_vm = self.vm.is_some();
        FullRow {
            vm_cid: self.vm.as_ref().map(|vm| vm.cid.clone()),
            active: has_vm.then_some(true),
            vm_created_at: self.vm_created_at(),
            cloud_properties: json!({}),
            disk_cid: None,
            disk_cids: Vec::new(),
            ips: self.shown_ips(),
            agent_id: self.vm.as_ref().map(|vm| vm.agent_id.clone()),
            job_name: self.group.clone(),
            index: self.index,
            job_state: has_vm.then(|| job_state.to_owned()),
            state: self.state.as_str().to_owned(),
            vm_type: group.filter(|_| has_vm).and_then(|group| group.vm_type.clone()),
            vitals: has_vm.then(vitals),
            processes: if has_vm { jobs.iter().map(|job| process(&job.name)).collect() } else { Vec::new() },
            az: self.az.clone(),
            id: self.id.clone(),
            bootstrap: self.index == 0,
            ignore: false,
            stemcell: self.stemcell(record),
        }
    }

    /// The report of its agent: `None` for an instance without a VM, and `Some(None)` for an agent that does not
    /// answer.
    pub(in super::super) fn agent_row(&self, record: &DeploymentRecord, agent: Option<Option<AgentState>>) -> FullRow {
        let row = self.full_row(record);
        match agent {
            None => FullRow { job_state: None, vitals: None, processes: Vec::new(), ..row },
            Some(None) => {
                FullRow { job_state: Some("unresponsive agent".to_owned()), vitals: None, processes: Vec::new(), ..row }
            }
            Some(Some(state)) => FullRow {
                job_state: Some(state.job_state),
                vitals: Some(nested(&state.vitals)),
                processes: state.processes.into_iter().map(shown_process).collect(),
                ..row
            },
        }
    }

    fn stemcell(&self, record: &DeploymentRecord) -> StemcellOf {
        match (&self.vm, record.stemcells().into_iter().next()) {
            (Some(_), Some(row)) => {
                StemcellOf { name: Some(row.name), version: Some(row.version), api_version: Some(3) }
            }
            _ => StemcellOf::default(),
        }
    }
}

fn shown_process(process: ProcessState) -> Process {
    Process {
        name: process.name,
        state: process.state,
        uptime: json!({"secs": process.uptime_seconds}),
        mem: json!({"kb": process.memory_kb, "percent": 0.0}),
        cpu: json!({"total": 0.0}),
    }
}

/// Vitals with dotted names, converted to nested objects; `uptime.secs` is a number, `load` a list of three.
fn nested(flat: &BTreeMap<String, String>) -> Value {
    let mut all = json!({"cpu": {}, "disk": {}, "load": [], "mem": {}, "swap": {}, "uptime": {}});
    for (name, text) in flat {
        let value = match name.as_str() {
            "uptime.secs" => text.parse::<u64>().map_or(Value::Null, Value::from),
            "load" => text.split([' ', ',']).filter(|part| !part.is_empty()).collect(),
            _ => Value::from(text.as_str()),
        };
        let mut place = &mut all;
        for part in name.split('.') {
            if !place.is_object() {
                break;
            }
            place = &mut place[part];
        }
        *place = value;
    }
    all
}

/// Numbers as text, like agents send them.
fn vitals() -> Value {
    json!({
        "cpu": {"sys": "0.1", "user": "0.2", "wait": "0.0"},
        "disk": {
            "ephemeral": {"inode_percent": "1", "percent": "1"},
            "system": {"inode_percent": "1", "percent": "1"},
        },
        "load": ["0.00", "0.00", "0.00"],
        "mem": {"kb": "20480", "percent": "1"},
        "swap": {"kb": "0", "percent": "0"},
        "uptime": {"secs": 60},
    })
}
