//! `/var/vcap/instance/dns/records.json`: the instances of all deployments of a director, as every VM is told for bosh-dns.
//!
//! The director publishes the file within seconds of a change and the agent replaces it by rename. It may be missing (before the first
//! publication, or without local DNS), old, or partial, so that it says which address an instance has and never which instances
//! there are: an instance that was stopped hard keeps its last address in it.
//!
//! Columns are found by `record_keys`, as bosh-dns finds them, and unknown ones are passed over. One row that cannot be read costs that
//! row and is named.

mod cell;
mod rows;

use std::collections::BTreeMap;

pub use boshy_mesh::Address;
use serde::Deserialize;
use serde_json::Value;

use self::{
    cell::Cell,
    rows::{Columns, Infos},
};

/// Where the agent of a VM keeps the file.
pub const PATH: &str = "/var/vcap/instance/dns/records.json";
/// Rows that are named when they cannot be read; there may be thousands of the same kind.
const MAX_NAMED: usize = 10;

/// An instance on one of its networks. Names are in the canonical form of DNS (lower case, `_` as `-`, other characters dropped).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Uuid of the instance.
    pub id: String,
    /// Number of the instance, in DNS queries.
    pub num_id: String,
    /// Instance group.
    pub instance_group: String,
    /// Numbers of the group and of its links, in DNS queries.
    pub group_ids: Vec<String>,
    /// Availability zone.
    pub az: Option<String>,
    /// Number of the zone, in DNS queries.
    pub az_id: Option<String>,
    /// Network.
    pub network: String,
    /// Number of the network, in DNS queries.
    pub network_id: String,
    /// Deployment.
    pub deployment: String,
    /// The instance's address on that network.
    pub address: Address,
    /// Domain of its DNS names, without a dot at the end.
    pub domain: String,
    /// Agent of the VM. Another one means another VM, whatever the address.
    pub agent_id: Option<String>,
    /// Index in the group.
    pub index: Option<u32>,
}

/// What another name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AliasTarget {
    /// A number of [`Record::group_ids`].
    pub group_id: String,
    /// Domain of the names.
    pub root_domain: String,
    /// `healthy`, `unhealthy`, `all` or `smart`.
    #[serde(default)]
    pub health_filter: Option<String>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Rises with every publication; 0 when the file has none.
    pub version: u64,
    /// The rows, in the file's order.
    pub rows: Vec<Record>,
    /// Names of links.
    pub aliases: BTreeMap<String, Vec<AliasTarget>>,
    /// What could not be read: `record_infos[3].ip: ...`.
    pub unreadable: Vec<String>,
    /// How many rows could not be read.
    pub unreadable_rows: usize,
}

/// Why a file is no use.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// It is no JSON, cut off, or no object.
    #[error("records.json is no JSON object")]
    Json(#[from] serde_json::Error),
    /// A key without which nothing can be read.
    #[error("records.json has no list under {0:?}")]
    Missing(&'static str),
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default, borrow)]
    version: Cell<'a>,
    #[serde(default, borrow)]
    record_keys: Cell<'a>,
    #[serde(default)]
    aliases: Value,
}

impl Records {
    /// Reads the file.
    ///
    /// # Errors
    /// When nothing of it can be read.
    pub fn read(text: &[u8]) -> Result<Self, RecordsError> {
        Self::read_where(text, |_| true)
    }

    /// Reads the file and keeps the rows that are wanted. An agent wants one of ten thousand.
    ///
    /// # Errors
    /// When nothing of it can be read.
    pub fn read_where(text: &[u8], keep: impl FnMut(&Record) -> bool) -> Result<Self, RecordsError> {
        // Twice over the text: the columns are named somewhere in it, and rows are not kept until they are known.
        let head: Head<'_> = serde_json::from_slice(text)?;
        let Cell::List(keys) = &head.record_keys else { return Err(RecordsError::Missing("record_keys")) };
        let mut infos = Infos::new(Columns::new(keys), keep, MAX_NAMED);
        if !infos.read(text)? {
            return Err(RecordsError::Missing("record_infos"));
        }
        Ok(Self {
            version: if let Cell::Number(version) = head.version { version } else { 0 },
            rows: infos.rows,
            aliases: aliases(head.aliases),
            unreadable: infos.unreadable,
            unreadable_rows: infos.unreadable_rows,
        })
    }

    /// The rows of an instance, one for each of its networks.
    pub fn of_instance(&self, id: &str) -> impl Iterator<Item = &Record> {
        self.rows.iter().filter(move |row| row.id.eq_ignore_ascii_case(id))
    }
}

fn aliases(written: Value) -> BTreeMap<String, Vec<AliasTarget>> {
    let Value::Object(written) = written else { return BTreeMap::new() };
    let targets = |(name, targets): (String, Value)| Some((name, serde_json::from_value(targets).ok()?));
    written.into_iter().filter_map(targets).collect()
}

#[cfg(test)]
mod tests;
