//! Channels from the exchange to the rest of the agent.

use std::{collections::BTreeMap, sync::Arc};

use boshy_mesh::NameTable;
use serde::Serialize;
use tokio::sync::watch;

use super::{
    Kept,
    relay::{Nack, NameCounts, Stored},
};
use crate::{MeshTold, ResourceSet, ResourceType};

/// Status of the exchange with the pilots, for operators. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExchangeStatus {
    /// The pilot to which a stream is open.
    pub pilot: Option<String>,
    /// When the stream was opened or ended.
    pub since: u64,
    /// Why the last stream ended, with all causes.
    pub last_error: Option<String>,
    /// What an operator can do about it.
    pub last_remedy: Option<String>,
    /// The pilot's version of each type, from its last response.
    pub versions: BTreeMap<ResourceType, String>,
    /// Types that were received completely, on this stream or an earlier one. Until names are among them, a name that
    /// is not answered may still exist.
    pub known: Vec<ResourceType>,
    /// Numbers of answered and waiting names.
    pub names: NameCounts,
    /// The first few resources that the local Envoy rejects. They are tried again with growing pauses.
    pub nacks: Vec<Nack>,
    /// Number of resources that it rejects.
    pub nack_count: usize,
    /// What the pilot last reported about its mesh.
    pub told: Option<MeshTold>,
}

/// Channels from the exchange to the rest of the agent. Their owner is the supervisor of the exchange, so that readers
/// keep their values while the exchange is restarted, and a fresh exchange starts from `stored`. Clones share the
/// channels.
#[derive(Clone, Debug, Default)]
pub struct Outlets {
    /// Resources that the local Envoy may ask for.
    pub served: watch::Sender<Arc<ResourceSet>>,
    /// Names that DNS answers. They lead to their service, and would do so again after a power cut.
    pub names: watch::Sender<Arc<NameTable>>,
    /// State to be kept across a restart.
    pub stored: watch::Sender<Arc<Stored>>,
    /// The state on disk, as reported by its writer. Names and answers to the pilot wait for it.
    pub kept: watch::Sender<Kept>,
    /// Number of the pilot's responses that are not answered yet.
    pub unanswered: watch::Sender<usize>,
    /// Status for operators.
    pub status: watch::Sender<ExchangeStatus>,
}
