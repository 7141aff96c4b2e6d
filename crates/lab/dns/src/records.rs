//! `records.json`: resolves BOSH names to addresses.
//!
//! Not implemented: health (every instance counts as healthy, so smart, healthy and all mean the same and unhealthy
//! selects none), `*` in names, and placeholders in aliases.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use boshy_records::AliasTarget;
use err_report::Report;

/// An instance on one network.
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

/// The director's records of all instances.
#[derive(Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    /// Target names of each alias, both in lower case and with a final dot.
    aliases: BTreeMap<String, Vec<String>>,
}

/// Result of looking a name up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The name is in no domain of BOSH.
    NotOurs,
    /// No instance has this name.
    Nothing,
    Addresses(Vec<Ipv4Addr>),
}

impl Records {
    /// Parses the file. A row that cannot be parsed is left out, and so is one whose address is IPv6 or a block.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file = boshy_records::Records::read(text.as_bytes()).map_err(|error| Report::new(error).to_string())?;
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
        Ok(Self { records: file.rows.into_iter().filter_map(record).collect(), aliases })
    }

    /// The addresses of a name (lower case, with a final dot), without duplicates.
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

fn record(row: boshy_records::Record) -> Option<Record> {
    let IpAddr::V4(ip) = row.address.ip else { return None };
    if row.address.prefix.is_some() {
        return None;
    }
    Some(Record {
        id: row.id.to_ascii_lowercase(),
        num_id: row.num_id,
        index: row.index.map(|index| index.to_string()).unwrap_or_default(),
        group: row.instance_group.to_ascii_lowercase(),
        group_ids: row.group_ids,
        az_id: row.az_id.unwrap_or_default(),
        network: row.network.to_ascii_lowercase(),
        network_id: row.network_id,
        deployment: row.deployment.to_ascii_lowercase(),
        ip,
        domain: canonical(&row.domain),
    })
}

impl Record {
    /// Matches `WHICH.GROUP.NETWORK.DEPLOYMENT.DOMAIN` or `QUERY.q-gN.DOMAIN`.
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

    /// Matches an instance's id or index, or a query.
    fn is(&self, which: &str) -> bool {
        match which.strip_prefix("q-") {
            Some(query) => self.answers(query),
            None => which == self.id || which == self.index,
        }
    }

    /// Matches a query of letters, each with a value: `s0a1m2`.
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
