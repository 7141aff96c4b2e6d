//! What Envoy's answers change.

use std::sync::Arc;

use crate::ResourceType;

/// A resource that Envoy rejected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Nack {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Name of the resource.
    pub name: Arc<str>,
    /// The rejected version.
    pub version: Arc<str>,
    /// Envoy's error text.
    pub reason: Arc<str>,
    /// How often the connected Envoy has rejected this version.
    pub attempts: u32,
}

/// Changes that followed from Envoy's answers.
#[derive(Debug, Default)]
pub(in super::super) struct Changes {
    /// Resources that are newly rejected, or rejected again.
    pub(in super::super) nacks: Vec<Nack>,
    /// Resources that were rejected and are accepted now.
    pub(in super::super) recovered: Vec<(ResourceType, Arc<str>)>,
}
