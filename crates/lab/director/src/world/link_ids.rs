//! Ids of the director's tables of links. A row keeps its id from deploy to deploy, and no other row has it, whatever
//! deployment it belongs to.

use std::collections::BTreeMap;

use boshy_mesh::Timestamp;

/// One of the director's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LinkTable {
    /// What jobs provide.
    Providers,
    /// What jobs consume.
    Consumers,
    /// Which provider a consumer has.
    Links,
}

/// What tells a row from the others of its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkKey {
    pub(crate) deployment: String,
    pub(crate) group: String,
    pub(crate) job: String,
    /// Name in the release.
    pub(crate) link: String,
}

/// Ids of rows that were shown, and when they were shown first.
#[derive(Debug, Default)]
pub(crate) struct LinkIds(BTreeMap<LinkTable, BTreeMap<LinkKey, (u64, Timestamp)>>);

impl LinkIds {
    /// The id of a row and the time of its first appearance.
    pub(crate) fn of(&mut self, table: LinkTable, key: LinkKey, now: Timestamp) -> (u64, Timestamp) {
        let table = self.0.entry(table).or_default();
        let next = table.len() as u64 + 1;
        *table.entry(key).or_insert((next, now))
    }
}
