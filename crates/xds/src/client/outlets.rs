//! What the exchange tells the rest of the agent.

use std::{collections::BTreeMap, sync::Arc};

use boshy_mesh::NameTable;
use serde::Serialize;
use tokio::sync::watch;

use super::Kept;
use crate::{
    ResourceSet, ResourceType,
    relay::{NameCounts, Refusal, Stored},
    told::MeshTold,
};

/// How the exchange with the pilots goes, for operators. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExchangeStatus {
    /// The pilot a stream is open to.
    pub pilot: Option<String>,
    /// Since when that is so, or is not.
    pub since: u64,
    /// Why the last stream ended, with all causes.
    pub last_error: Option<String>,
    /// What an operator can do about it.
    pub last_remedy: Option<String>,
    /// The pilot's version of each type, of the last response.
    pub versions: BTreeMap<ResourceType, String>,
    /// Types of which all was received, by this stream or an earlier one. Before names are among them, a name that is not
    /// answered may well exist.
    pub known: Vec<ResourceType>,
    /// Names answered and waiting.
    pub names: NameCounts,
    /// What the local Envoy refuses, the first few of it; tried again with growing pauses.
    pub refused: Vec<Refusal>,
    /// How much it refuses.
    pub refusing: usize,
    /// What the pilot said of its mesh last.
    pub told: Option<MeshTold>,
}

/// What the exchange tells the rest of the agent. Whoever supervises it owns this, so that readers keep what they have
/// while the exchange is restarted, and a fresh one begins with `stored`. Clones share the channels.
#[derive(Clone, Debug, Default)]
pub struct Outlets {
    /// What the local Envoy may ask for.
    pub served: watch::Sender<Arc<ResourceSet>>,
    /// What DNS answers: names that lead to their service and would do so again after a power cut.
    pub names: watch::Sender<Arc<NameTable>>,
    /// What is to be kept over a restart.
    pub stored: watch::Sender<Arc<Stored>>,
    /// What is kept, told by whoever writes it. Names and answers to the pilot wait for it.
    pub kept: watch::Sender<Kept>,
    /// Responses of the pilot that have no answer yet.
    pub unanswered: watch::Sender<usize>,
    /// For operators.
    pub status: watch::Sender<ExchangeStatus>,
}
