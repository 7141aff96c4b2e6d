//! `/var/vcap/instance/dns/records.json`: the instances of all deployments of a director, as the director tells every
//! VM's bosh-dns.
//!
//! The director publishes the file within seconds of a change, and the BOSH agent replaces it by rename. It may be
//! missing (before the first publication, or without local DNS), old or partial, and an instance that was stopped hard
//! keeps its last address in it. So the file alone does not say which instances exist, but its changes do
//! ([`RecordsNews`] for the pilot, [`Follower`] for an agent).
//!
//! Columns are found by `record_keys`, as bosh-dns finds them, and unknown columns are ignored. A row that cannot be
//! parsed is skipped and named.

mod cell;
mod change;
mod follower;
mod news;
mod overlay;
mod record;
mod rows;
mod view;

use std::collections::BTreeMap;

pub use self::{
    change::GRACE,
    follower::{ALONE, EndpointChange, Follower},
    news::{Readings, RecordsNews, Rows},
    record::Record,
    view::{Place, View},
};
pub use boshy_mesh::Address;
use serde::Deserialize;
use serde_json::Value;

use self::{
    cell::Cell,
    rows::{Columns, Infos},
};

/// Path at which the BOSH agent of a VM keeps the file.
pub const PATH: &str = "/var/vcap/instance/dns/records.json";
/// Number of unparsable rows that are named; there may be thousands of the same kind.
const MAX_NAMED: usize = 10;

/// What an alias stands for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AliasTarget {
    /// One of the numbers in [`Record::group_ids`].
    pub group_id: String,
    /// Domain of the names.
    pub root_domain: String,
    /// `healthy`, `unhealthy`, `all` or `smart`.
    #[serde(default)]
    pub health_filter: Option<String>,
}

/// Content of `records.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Increases with every publication; 0 when the file has no version.
    pub version: u64,
    /// The rows, in the file's order.
    pub rows: Vec<Record>,
    /// Aliases of links.
    pub aliases: BTreeMap<String, Vec<AliasTarget>>,
    /// Rows that could not be parsed, such as `record_infos[3].ip: ...`.
    pub unreadable: Vec<String>,
    /// Number of rows that could not be parsed.
    pub unreadable_rows: usize,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The file is not JSON, is truncated, or is not an object.
    #[error("records.json is no JSON object")]
    Json(#[from] serde_json::Error),
    /// A required key is missing.
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
    /// Parses the file.
    ///
    /// # Errors
    /// When the file as a whole cannot be parsed.
    pub fn read(text: &[u8]) -> Result<Self, RecordsError> {
        Self::read_where(text, |_| true)
    }

    /// Parses the file and keeps only the wanted rows. An agent wants one of ten thousand.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_where(text: &[u8], keep: impl FnMut(&Record) -> bool) -> Result<Self, RecordsError> {
        // The text is parsed twice: the columns may be named anywhere in it, and rows are not kept until the columns
        // are known.
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
