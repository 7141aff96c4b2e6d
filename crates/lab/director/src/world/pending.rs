//! A deploy between its two steps.

use serde_json::Value;

use super::journal::Scribe;

/// A deploy in progress: its instances are visible, its manifest is not.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) scribe: Scribe,
    pub(super) context_before: Value,
}
