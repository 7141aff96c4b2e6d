//! `records.json`: the names and addresses for bosh-dns on every VM. Pure.
//!
//! A row is added with a VM and removed with the instance: a detached instance keeps its stale address, as with a real
//! director. Ids of groups and networks never change.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use serde_json::{Map, Value, json};

use super::Instance;

const KEYS: [&str; 13] = [
    "id",
    "num_id",
    "instance_group",
    "group_ids",
    "az",
    "az_id",
    "network",
    "network_id",
    "deployment",
    "ip",
    "domain",
    "agent_id",
    "instance_index",
];
const DOMAIN: &str = "bosh";

/// DNS entries of a deployment's links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DnsLinks {
    /// Instance group, and `NAME-TYPE` of a link that it provides.
    pub(crate) provided: Vec<(String, String)>,
    pub(crate) aliases: Vec<DnsAlias>,
}

/// An alias of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DnsAlias {
    pub(crate) domain: String,
    /// `NAME-TYPE` of the link.
    pub(crate) link: String,
    pub(crate) health_filter: Option<String>,
    pub(crate) initial_health_check: Option<String>,
    /// With `uuid`, the name begins with `_` and stands for one instance.
    pub(crate) placeholder_type: Option<String>,
}

#[derive(Clone, Debug)]
struct Row {
    instance: String,
    deployment: String,
    group: String,
    az: Option<String>,
    network: String,
    ip: Ipv4Addr,
    agent_id: String,
    index: u32,
}

/// Ids assigned in the order of first use.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<Vec<String>, u64>);

impl Numbers {
    fn of(&mut self, key: &[&str]) -> String {
        let next = self.0.len() as u64 + 1;
        self.0.entry(key.iter().map(|part| (*part).to_owned()).collect()).or_insert(next).to_string()
    }
}

/// The content of `records.json`.
#[derive(Debug, Default)]
pub(crate) struct Dns {
    rows: Vec<Row>,
    links: BTreeMap<String, DnsLinks>,
    instances: Numbers,
    azs: Numbers,
    networks: Numbers,
    groups: Numbers,
    version: u64,
    published: Arc<str>,
    body: Value,
}

impl Dns {
    /// An instance has a new VM.
    pub(crate) fn bind(&mut self, deployment: &str, instance: &Instance) {
        let Some(vm) = &instance.vm else { return };
        self.unbind(&instance.id);
        let row = |(network, ip): &(String, Ipv4Addr)| Row {
            instance: instance.id.clone(),
            deployment: deployment.to_owned(),
            group: instance.group.clone(),
            az: instance.az.clone(),
            network: network.clone(),
            ip: *ip,
            agent_id: vm.agent_id.clone(),
            index: instance.index,
        };
        self.rows.extend(instance.networks.iter().map(row));
    }

    /// An instance was deleted.
    pub(crate) fn unbind(&mut self, instance: &str) {
        self.rows.retain(|row| row.instance != instance);
    }

    pub(crate) fn set_links(&mut self, deployment: &str, links: DnsLinks) {
        self.links.insert(deployment.to_owned(), links);
    }

    pub(crate) fn forget(&mut self, deployment: &str) {
        self.rows.retain(|row| row.deployment != deployment);
        self.links.remove(deployment);
    }

    /// The id of an availability zone in DNS names.
    pub(crate) fn az_id(&mut self, az: &str) -> u32 {
        self.azs.of(&[az]).parse().unwrap_or(0)
    }

    /// The current version and text. The version increases with every change.
    pub(crate) fn publish(&mut self) -> (u64, Arc<str>) {
        let mut body = self.body();
        if self.version == 0 || body != self.body {
            self.version += 1;
            self.body = body.clone();
            body["version"] = json!(self.version);
            self.published = body.to_string().into();
        }
        (self.version, Arc::clone(&self.published))
    }

    fn body(&mut self) -> Value {
        let rows = std::mem::take(&mut self.rows);
        let infos: Vec<Value> = rows.iter().map(|row| self.info(row)).collect();
        let records: Vec<Value> = rows.iter().map(record).collect();
        self.rows = rows;
        let aliases = self.aliases();
        json!({"records": records, "version": 0, "record_keys": KEYS, "record_infos": infos, "aliases": aliases})
    }

    fn info(&mut self, row: &Row) -> Value {
        let mut groups = vec![self.groups.of(&[&row.deployment, "instance-group", &row.group])];
        let links = self.links.get(&row.deployment);
        for (_, link) in links.into_iter().flat_map(|links| &links.provided).filter(|(group, _)| *group == row.group) {
            groups.push(self.groups.of(&[&row.deployment, "link", link]));
        }
        json!([
            row.instance,
            self.instances.of(&[&row.instance]),
            canonical(&row.group),
            groups,
            row.az,
            row.az.as_deref().map(|az| self.azs.of(&[az])),
            canonical(&row.network),
            self.networks.of(&[&row.network]),
            canonical(&row.deployment),
            row.ip.to_string(),
            DOMAIN,
            row.agent_id,
            row.index,
        ])
    }

    fn aliases(&mut self) -> Value {
        let mut aliases: Map<String, Value> = Map::new();
        for (deployment, links) in &self.links {
            for alias in &links.aliases {
                let target = json!({
                    "root_domain": DOMAIN,
                    "group_id": self.groups.of(&[deployment, "link", &alias.link]),
                    "health_filter": alias.health_filter,
                    "initial_health_check": alias.initial_health_check,
                    "placeholder_type": alias.placeholder_type,
                });
                let targets = aliases.entry(alias.domain.clone()).or_insert_with(|| json!([]));
                if let Value::Array(targets) = targets {
                    targets.push(target);
                }
            }
        }
        Value::Object(aliases)
    }
}

fn record(row: &Row) -> Value {
    let (group, network, deployment) = (canonical(&row.group), canonical(&row.network), canonical(&row.deployment));
    json!([row.ip.to_string(), format!("{}.{group}.{network}.{deployment}.{DOMAIN}", row.instance)])
}

/// A name in the form used in DNS names.
fn canonical(name: &str) -> String {
    let lower = name.to_lowercase().replace('_', "-");
    lower.chars().filter(|character| character.is_ascii_alphanumeric() || *character == '-').collect()
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
