//! The messages, as [`super`] describes them.

use std::collections::HashMap;

use prost::Message;

use super::needs;

/// `istio.networking.nds.v1.NameTable`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NameTable {
    #[prost(map = "string, message", tag = "1")]
    pub(super) table: HashMap<String, NameInfo>,
}

/// `istio.networking.nds.v1.NameTable.NameInfo`, and the needs.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NameInfo {
    #[prost(string, repeated, tag = "1")]
    pub(super) ips: Vec<String>,
    #[prost(string, tag = "2")]
    pub(super) registry: String,
    #[prost(string, tag = "3")]
    pub(super) shortname: String,
    #[prost(string, tag = "4")]
    pub(super) namespace: String,
    #[prost(message, optional, tag = "1000")]
    pub(super) needs: Option<Needs>,
    #[prost(message, repeated, tag = "1001")]
    pub(super) ports: Vec<NeededPort>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Needs {
    #[prost(string, repeated, tag = "1")]
    listeners: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    clusters: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NeededPort {
    #[prost(uint32, tag = "1")]
    pub(super) number: u32,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(bool, tag = "3")]
    pub(super) tunnelled: bool,
}

impl From<&needs::Needs> for Needs {
    fn from(needs::Needs { listeners, clusters }: &needs::Needs) -> Self {
        let [listeners, clusters] = [listeners, clusters].map(|names| names.iter().map(ToString::to_string).collect());
        Self { listeners, clusters }
    }
}

impl From<Needs> for needs::Needs {
    fn from(Needs { listeners, clusters }: Needs) -> Self {
        let [listeners, clusters] = [listeners, clusters].map(|names| names.into_iter().map(Into::into).collect());
        Self { listeners, clusters }
    }
}
