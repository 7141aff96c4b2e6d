//! Instances and VMs: from the director's tables, and (`?format=full`) as reported by every agent.

use std::collections::{BTreeMap, BTreeSet};

use boshy_mesh::{Address, Instance, Place, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time;

/// One row of `GET /deployments/:name/instances`, in no particular order. A stopped instance that keeps its VM looks
/// like a running one.
///
/// Fields of a row that cannot be parsed are left empty and named, so that no other row is affected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value")]
pub struct InstanceRow {
    /// Agent id of the VM.
    pub agent_id: Option<String>,
    /// Cid of the VM.
    pub cid: Option<String>,
    /// Instance group.
    pub job: String,
    /// Index in the group.
    pub index: Option<u32>,
    /// Uuid.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// Addresses of all networks, IPv4 first, in numerical order; blocks with their prefix (`10.20.0.16/28`).
    pub ips: Vec<String>,
    /// `2026-11-23T15:13:34Z`.
    pub vm_created_at: Option<String>,
    /// False for detached instances and for errands without a VM.
    pub expects_vm: bool,
    /// Keys whose value cannot be parsed.
    #[serde(skip)]
    pub unreadable: Vec<&'static str>,
}

impl From<Value> for InstanceRow {
    fn from(value: Value) -> Self {
        let mut row = Self::default();
        let Value::Object(mut keys) = value else {
            row.unreadable.push("row");
            return row;
        };
        let mut unreadable = Vec::new();
        let mut taken = |key: &'static str, read: &mut dyn FnMut(Value) -> bool| match keys.remove(key) {
            None | Some(Value::Null) => {}
            Some(value) if read(value.clone()) => {}
            Some(_) => unreadable.push(key),
        };
        let text = |place: &mut Option<String>, value: Value| {
            if let Value::String(text) = value {
                *place = Some(text);
            }
            place.is_some()
        };
        let (mut job, mut id, mut expects_vm) = (None, None, None);
        taken("agent_id", &mut |value| text(&mut row.agent_id, value));
        taken("cid", &mut |value| text(&mut row.cid, value));
        taken("job", &mut |value| text(&mut job, value));
        taken("index", &mut |value| {
            row.index = index(&value);
            row.index.is_some()
        });
        taken("id", &mut |value| text(&mut id, value));
        taken("az", &mut |value| text(&mut row.az, value));
        taken("ips", &mut |value| {
            let (Value::Array(_) | Value::String(_)) = value else { return false };
            let items = if let Value::Array(items) = value { items } else { vec![value] };
            row.ips =
                items.into_iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            true
        });
        taken("vm_created_at", &mut |value| text(&mut row.vm_created_at, value));
        taken("expects_vm", &mut |value| {
            expects_vm = value.as_bool();
            expects_vm.is_some()
        });
        (row.job, row.id) = (job.unwrap_or_default(), id.unwrap_or_default());
        // Directors before 2018 omit it; an address implies a VM.
        row.expects_vm = expects_vm.unwrap_or(!row.ips.is_empty());
        row.unreadable = unreadable;
        row
    }
}

fn index(value: &Value) -> Option<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.or_else(|| value.as_str()?.parse().ok())
}

/// The instances of one deployment's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadInstances {
    /// The instances that could be parsed, by group and index.
    pub instances: Vec<Instance>,
    /// Ids of instances of which an essential field could not be parsed: the group, or any address.
    pub unread: BTreeSet<String>,
    /// Whether a row did not even have a valid id.
    pub nameless: bool,
    /// Values that cannot be used, each with its place.
    pub problems: Vec<Problem>,
}

impl ReadInstances {
    /// Parses row by row. `place` is the deployment.
    pub fn of(place: &Place, rows: Vec<InstanceRow>) -> Self {
        let mut read = Self::default();
        let mut instances = BTreeMap::<String, Instance>::new();
        for row in rows {
            let (instance, unreadable) = read.instance(row);
            let place = place.clone().key("instances");
            read.problems.extend(unreadable.into_iter().map(|reason| Problem::new(place.clone(), reason)));
            let Some(instance) = instance else { continue };
            if let Some(known) = instances.get(&instance.id) {
                let reason = format!("instance {} has the id of another line, {}", instance.title(), instance.id);
                read.problems.push(Problem::new(place, reason));
                if known.vm_created_at > instance.vm_created_at {
                    continue;
                }
            }
            instances.insert(instance.id.clone(), instance);
        }
        read.instances = instances.into_values().collect();
        read.instances.sort();
        read
    }

    fn instance(&mut self, row: InstanceRow) -> (Option<Instance>, Vec<String>) {
        let mut problems = Vec::new();
        let nameless = [("job", row.job.is_empty()), ("id", row.id.is_empty())];
        if let Some((key, _)) = nameless.into_iter().find(|(_, is_missing)| *is_missing) {
            let name = [&*row.job, &*row.id].into_iter().find(|name| !name.is_empty()).unwrap_or("a line");
            let problem = format!("{name} has no `{key}` that can be read; it is left out");
            self.nameless |= row.id.is_empty();
            self.unread.insert(row.id);
            return (None, vec![problem]);
        }
        let mut instance = Instance {
            group: row.job,
            index: row.index,
            id: row.id,
            az: row.az,
            expects_vm: row.expects_vm,
            agent_id: row.agent_id,
            vm_created_at: row.vm_created_at.as_deref().and_then(time::seconds),
            ..Instance::default()
        };
        let title = instance.title();
        let mut unread = row.unreadable.contains(&"ips");
        problems.extend(row.unreadable.into_iter().map(|key| format!("instance {title} has a `{key}` that is none")));
        for written in row.ips {
            match Address::parse(&written) {
                Some(address) => instance.ips.push(address),
                None => {
                    unread = true;
                    problems.push(format!("instance {title} has the address {written:?}, which is no IP address"));
                }
            }
        }
        if unread && instance.ips.is_empty() {
            self.unread.insert(instance.id.clone());
        }
        (Some(instance), problems)
    }
}

/// One row of `GET /deployments/:name/vms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRow {
    /// Agent id of the VM.
    pub agent_id: Option<String>,
    /// Cid of the VM.
    pub cid: Option<String>,
    /// Instance group.
    pub job: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid of the instance.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// Addresses.
    pub ips: Vec<String>,
    /// `2026-11-23T15:13:34Z`.
    pub vm_created_at: Option<String>,
    /// False while it waits to replace another VM.
    pub active: bool,
    /// Whether it has its own credentials for the message bus.
    pub permanent_nats_credentials: bool,
}

/// `GET /deployments/:name/jobs/:group/:id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInstance {
    /// Deployment.
    pub deployment: String,
    /// Instance group.
    pub job: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid.
    pub id: String,
    /// `started`, `stopped` or `detached`.
    pub state: String,
    /// Disks.
    pub disks: Vec<Value>,
}

/// One row of the result of `?format=full`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FullRow {
    /// VM.
    pub vm_cid: Option<String>,
    /// False while it waits to replace another VM.
    pub active: Option<bool>,
    /// `2026-11-23T15:13:34Z`.
    pub vm_created_at: Option<String>,
    /// Cloud properties of the cloud config.
    pub cloud_properties: Value,
    /// Disk.
    pub disk_cid: Option<String>,
    /// Disks.
    pub disk_cids: Vec<String>,
    /// Addresses.
    pub ips: Vec<String>,
    /// Agent.
    pub agent_id: Option<String>,
    /// Instance group.
    pub job_name: String,
    /// Index in the group.
    pub index: u32,
    /// `running`, `failing`, `unresponsive agent`, ...; null without a VM.
    pub job_state: Option<String>,
    /// `started`, `stopped` or `detached`.
    pub state: String,
    /// VM type.
    pub vm_type: Option<String>,
    /// Load and similar values; numbers as text.
    pub vitals: Option<Value>,
    /// Processes watched by monit.
    pub processes: Vec<Process>,
    /// Availability zone.
    pub az: Option<String>,
    /// Uuid of the instance.
    pub id: String,
    /// Whether it is the first of its group.
    pub bootstrap: bool,
    /// Whether deploys skip it.
    pub ignore: bool,
    /// Stemcell.
    pub stemcell: StemcellOf,
}

/// A process, by its monit name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Name.
    pub name: String,
    /// `running`, `failing`, `starting` or `unknown`.
    pub state: String,
    /// Seconds since its start.
    pub uptime: Value,
    /// Memory usage.
    pub mem: Value,
    /// CPU usage.
    pub cpu: Value,
}

/// The stemcell of a VM; nulls without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemcellOf {
    /// Name.
    pub name: Option<String>,
    /// Version.
    pub version: Option<String>,
    /// Version of the stemcell API.
    pub api_version: Option<u32>,
}
