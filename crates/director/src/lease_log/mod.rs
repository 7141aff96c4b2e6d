//! The log of leases: versions of one config of the director, to which every pilot appends.
//!
//! The rows are those of [`boshy_agreement`]. A row is a version of the config `boshy-vips`, which anyone can read with
//! `bosh config`, and which the director keeps, audits and backs up like any other config. Nothing is derived from ids,
//! from `current`, or from the director's compare-and-set, because the director does not serialize writers.

mod agree;
mod document;

use std::{collections::BTreeSet, sync::Arc};

use boshy_agreement::{Phase, Row};
use boshy_mesh::LeaseTable;

use crate::client::{ClientError, DirectorClient};

pub use document::DocumentError;

/// Type of the config.
pub const LEASE_CONFIG_TYPE: &str = "boshy-vips";
/// Number of versions that are read at first: several writers seldom need more for the latest slots.
const FIRST_READ: u32 = 20;
/// Number of rows of earlier slots with which a reading ends.
const MARGIN: usize = 8;

/// A reading of the log.
#[derive(Clone, Debug)]
pub struct LogReading {
    /// The rows of the latest slots.
    pub rows: BTreeSet<Row<LeaseTable>>,
    /// What [`LeaseLog::newest`] says of a log with these rows.
    pub newest: Option<String>,
}

/// The log of one mesh.
#[derive(Clone)]
pub struct LeaseLog {
    client: Arc<DirectorClient>,
    /// Name of the config.
    name: String,
}

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The director did not answer, or refused.
    #[error(transparent)]
    Director(#[from] ClientError),
    /// A version of the config is not a row of leases. Nothing is decided then: it could be a vote of a later release.
    #[error(
        "version {id} of the {LEASE_CONFIG_TYPE} config {name:?} is not a row of leases; `bosh delete-config {id}` removes it"
    )]
    Document {
        /// Id of the version.
        id: String,
        /// Name of the config.
        name: String,
        /// What is wrong with it.
        source: DocumentError,
    },
}

impl LeaseLog {
    /// The log in the config of this name.
    pub fn new(client: Arc<DirectorClient>, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Reads the rows of the latest decided slot and of all later ones, and some of earlier ones.
    ///
    /// # Errors
    /// When the director does not answer, or a version is not a row.
    pub async fn read(&self) -> Result<LogReading, LogError> {
        let mut limit = FIRST_READ;
        loop {
            let versions = self.client.config_versions(LEASE_CONFIG_TYPE, &self.name, limit).await?;
            let rows = versions.iter().map(|version| {
                document::parse(&version.content).map_err(|source| {
                    let (id, name) = (version.id.clone(), self.name.clone());
                    LogError::Document { id, name, source }
                })
            });
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            if rows.len() < limit as usize || reaches_below_the_latest(&rows) {
                let newest = versions.into_iter().next().map(|version| version.id);
                return Ok(LogReading { rows: rows.into_iter().collect(), newest });
            }
            limit *= 4;
        }
    }

    /// Id of the newest version, which changes when a row is appended or the newest one is deleted. Costs one row.
    ///
    /// # Errors
    /// When the director does not answer.
    pub async fn newest(&self) -> Result<Option<String>, LogError> {
        let versions = self.client.config_versions(LEASE_CONFIG_TYPE, &self.name, 1).await?;
        Ok(versions.into_iter().next().map(|version| version.id))
    }

    /// Appends a row. After an error it is unknown whether the row was appended, and it may be appended again.
    ///
    /// # Errors
    /// When the director does not answer, or refuses.
    pub async fn append(&self, row: &Row<LeaseTable>) -> Result<(), LogError> {
        Ok(self.client.update_config(LEASE_CONFIG_TYPE, &self.name, &document::written(row)).await?)
    }
}

/// Whether the newest rows, newest first, contain everything that a decision depends on: all rows of the latest decided
/// slot and of later ones. A row that was appended late has a higher id than later slots have, so one row of an earlier
/// slot is no sign.
fn reaches_below_the_latest(rows: &[Row<LeaseTable>]) -> bool {
    let decided = rows.iter().filter(|row| row.phase == Phase::Decide).map(|row| row.slot).max();
    let is_earlier = |row: &Row<LeaseTable>| decided.is_some_and(|decided| row.slot < decided);
    rows.len() >= MARGIN && rows.iter().rev().take(MARGIN).all(is_earlier)
}
