//! An instance group with its jobs.

use std::sync::Arc;

use boshy_director::wire::NameVersion;
use serde_json::Value;

use super::written::Job as WrittenJob;
use crate::release::Release;

/// An instance group.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) os: String,
    pub(super) stemcell: NameVersion,
    pub(super) persistent_disk: u64,
    /// The default network first.
    pub(super) networks: Vec<String>,
    /// Addons last.
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) azs: Vec<String>,
    pub(super) lifecycle: String,
}

/// A job of an instance group.
pub(super) struct PlannedJob {
    pub(super) name: String,
    pub(super) release: NameVersion,
    /// `None` for a release that the lab implements itself.
    pub(super) source: Option<Arc<Release>>,
    /// Bound and with variables replaced, once all groups are complete.
    pub(super) properties: Value,
    pub(super) written: WrittenJob,
}
