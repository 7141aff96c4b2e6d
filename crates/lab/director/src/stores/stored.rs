//! A version of a release, as it is stored.

use std::sync::Arc;

use crate::release::Release;

/// A version of a release.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) version: String,
    /// `None` for a release that the lab implements itself.
    pub(crate) release: Option<Arc<Release>>,
}
