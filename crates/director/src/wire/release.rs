//! `GET /releases`.

use serde::{Deserialize, Serialize};

/// A release with its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRow {
    /// Name.
    pub name: String,
    /// Its versions, the newest last.
    pub release_versions: Vec<ReleaseVersion>,
}

/// One version of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseVersion {
    /// Version.
    pub version: String,
    /// Commit that it was made from.
    pub commit_hash: Option<String>,
    /// Whether there were uncommitted changes.
    pub uncommitted_changes: bool,
    /// Whether a deployment uses it.
    pub currently_deployed: bool,
    /// Its jobs.
    pub job_names: Vec<String>,
}
