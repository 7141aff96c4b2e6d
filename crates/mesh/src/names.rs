//! The name table from which the agent's DNS server answers.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::Serialize;

use crate::Hostname;

/// Seconds for which a resolver may cache the address of a name. The quarantine of a released address is a multiple of
/// it ([`EARLIEST_REUSE`](crate::EARLIEST_REUSE)).
pub const ANSWER_TTL: u32 = 30;

/// Names of the mesh with their virtual IPs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NameTable(BTreeMap<Hostname, Ipv4Addr>);

impl NameTable {
    /// Address of a name.
    pub fn get(&self, host: &str) -> Option<Ipv4Addr> {
        self.0.get(host).copied()
    }

    /// Adds or replaces a name.
    pub fn insert(&mut self, host: Hostname, vip: Ipv4Addr) {
        self.0.insert(host, vip);
    }

    /// All names in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Hostname, Ipv4Addr)> {
        self.0.iter().map(|(host, vip)| (host, *vip))
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Hostname, Ipv4Addr)> for NameTable {
    fn from_iter<I: IntoIterator<Item = (Hostname, Ipv4Addr)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}
