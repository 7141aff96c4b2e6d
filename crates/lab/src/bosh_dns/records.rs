//! `records.json`, and which addresses a name of BOSH stands for.
//!
//! Not known here: health (every instance counts as healthy, so smart, healthy and all are the same and unhealthy is none), `*` in
//! names, and placeholders of aliases.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::Deserialize;
use serde_json::Value;

/// The file.
#[derive(Deserialize)]
struct File {
    record_keys: Vec<String>,
    record_infos: Vec<Vec<Value>>,
    #[serde(default)]
    aliases: BTreeMap<String, Vec<AliasTarget>>,
}

#[derive(Deserialize)]
struct AliasTarget {
    group_id: String,
    root_domain: String,
    #[serde(default)]
    health_filter: Option<String>,
}

/// An instance on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    id: String,
    num_id: String,
    index: String,
    group: String,
    group_ids: Vec<String>,
    az_id: String,
    network: String,
    network_id: String,
    deployment: String,
    ip: Ipv4Addr,
    domain: String,
}

/// What the director says of all instances.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    /// The names that each stands for, both lower case and with a dot at the end.
    aliases: BTreeMap<String, Vec<String>>,
}

/// What there is for a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The name is of no domain of BOSH.
    NotOurs,
    /// No instance has such a name.
    Nothing,
    Addresses(Vec<Ipv4Addr>),
}

impl Records {
    /// Reads the file. A row that cannot be read is left out, such as one with an IPv6 address.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let position = |key: &str| file.record_keys.iter().position(|known| known == key);
        let records = file.record_infos.iter().filter_map(|row| record(row, position)).collect();
        let target = |target: AliasTarget| {
            let health = match target.health_filter.as_deref() {
                Some("unhealthy") => "q-s1",
                Some("healthy") => "q-s3",
                Some("all") => "q-s4",
                _ => "q-s0",
            };
            canonical(&format!("{health}.q-g{}.{}", target.group_id, target.root_domain))
        };
        let aliases = file
            .aliases
            .into_iter()
            .map(|(name, targets)| (canonical(&name), targets.into_iter().map(target).collect()))
            .collect();
        Ok(Self { records, aliases })
    }

    /// The addresses of a name (lower case, with a dot at the end), each once.
    pub(super) fn find(&self, name: &str) -> Found {
        if let Some(targets) = self.aliases.get(name) {
            let mut all: Vec<_> = targets.iter().flat_map(|target| self.addresses(target)).collect();
            dedup(&mut all);
            return if all.is_empty() { Found::Nothing } else { Found::Addresses(all) };
        }
        let ours = |record: &Record| name.strip_suffix(&record.domain).is_some_and(|rest| rest.ends_with('.'));
        if !name.ends_with(".bosh.") && !self.records.iter().any(ours) {
            return Found::NotOurs;
        }
        let mut all = self.addresses(name);
        dedup(&mut all);
        if all.is_empty() { Found::Nothing } else { Found::Addresses(all) }
    }

    fn addresses(&self, name: &str) -> Vec<Ipv4Addr> {
        self.records.iter().filter(|record| record.matches(name)).map(|record| record.ip).collect()
    }
}

fn dedup(addresses: &mut Vec<Ipv4Addr>) {
    addresses.sort_unstable();
    addresses.dedup();
}

fn canonical(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

fn record(row: &[Value], position: impl Fn(&str) -> Option<usize>) -> Option<Record> {
    let value = |key: &str| row.get(position(key)?);
    let text = |key: &str| match value(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let group_ids = value("group_ids").and_then(Value::as_array).cloned().unwrap_or_default();
    Some(Record {
        id: text("id").to_ascii_lowercase(),
        num_id: text("num_id"),
        index: text("instance_index"),
        group: text("instance_group").to_ascii_lowercase(),
        group_ids: group_ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect(),
        az_id: text("az_id"),
        network: text("network").to_ascii_lowercase(),
        network_id: text("network_id"),
        deployment: text("deployment").to_ascii_lowercase(),
        ip: text("ip").parse().ok()?,
        domain: canonical(&text("domain")),
    })
}

impl Record {
    /// `WHICH.GROUP.NETWORK.DEPLOYMENT.DOMAIN` or `QUERY.q-gN.DOMAIN`.
    fn matches(&self, name: &str) -> bool {
        let Some(rest) = name.strip_suffix(&self.domain).and_then(|rest| rest.strip_suffix('.')) else { return false };
        match rest.split('.').collect::<Vec<_>>()[..] {
            [which, group, network, deployment] => {
                (group, network, deployment) == (&*self.group, &*self.network, &*self.deployment) && self.is(which)
            }
            [which, group] => {
                let id = group.strip_prefix("q-g");
                id.is_some_and(|id| self.group_ids.iter().any(|own| own == id)) && self.is(which)
            }
            _ => false,
        }
    }

    /// An instance's id or index, or a query.
    fn is(&self, which: &str) -> bool {
        match which.strip_prefix("q-") {
            Some(query) => self.answers(query),
            None => which == self.id || which == self.index,
        }
    }

    /// Letters, each with a value: `s0a1m2`.
    fn answers(&self, query: &str) -> bool {
        let mut rest = query;
        while let Some(letter) = rest.chars().next() {
            let after = &rest[letter.len_utf8()..];
            let end = after.find(|char: char| !char.is_ascii_digit()).unwrap_or(after.len());
            let (value, next) = after.split_at(end);
            let fits = match letter {
                's' => value != "1" && !value.is_empty(),
                'a' => value == self.az_id,
                'm' => value == self.num_id,
                'n' => value == self.network_id,
                'i' => value == self.index,
                'y' => true,
                _ => false,
            };
            if !fits {
                return false;
            }
            rest = next;
        }
        !query.is_empty()
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
