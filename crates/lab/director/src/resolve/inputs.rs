//! What a deploy is resolved from.

use std::sync::Arc;

use super::resolved::Resolved;
use crate::stores::{ReleaseStore, StemcellStore, Variables};

/// Inputs of a deploy.
pub(crate) struct Inputs<'a> {
    /// The manifest as sent.
    pub(crate) manifest: &'a str,
    /// Latest content of every runtime config, `default` first.
    pub(crate) runtime_configs: &'a [String],
    /// Teams that own the deployment.
    pub(crate) teams: &'a [String],
    pub(crate) releases: &'a ReleaseStore,
    pub(crate) stemcells: &'a StemcellStore,
    pub(crate) variables: &'a mut Variables,
    /// Result of the last deploy of another deployment; [`Resolved::nothing`] when no deploy of it was resolved, `None`
    /// when there is no such deployment.
    pub(crate) others: &'a dyn Fn(&str) -> Option<Arc<Resolved>>,
}
