//! Messages of the model in both flavours.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    google::rpc,
};

use super::super::*;
use ResourceType::Endpoints;

/// Names of endpoints: those that it wants, and which of them it did not want before, and no longer does.
pub(super) struct Names<'n> {
    pub(super) wanted: &'n BTreeSet<String>,
    pub(super) new: &'n [String],
    pub(super) old: &'n [String],
}

impl<'n> Names<'n> {
    /// Without a change.
    pub(super) fn same(wanted: &'n BTreeSet<String>) -> Self {
        Self { wanted, new: &[], old: &[] }
    }
}

pub(super) trait Speech: Channel {
    /// Whether a resource missing from a response is removed.
    const COMPLETE: bool;

    /// A request for the type that is no answer. `nonce` is that of the last response.
    fn ask(kind: ResourceType, nonce: &str, names: &Names<'_>) -> Self::Request;
    /// An answer to a response.
    fn answer(response: &ResponseToProxy, bad: bool, wanted: &BTreeSet<String>) -> Self::Request;
    /// The first request for the type on a stream, by a proxy that had another one. It has these resources, and has
    /// accepted a response of this version.
    fn come_back(
        kind: ResourceType,
        has: BTreeMap<String, String>,
        accepted: &str,
        wanted: &BTreeSet<String>,
    ) -> Self::Request;
}

fn error(bad: bool) -> Option<rpc::Status> {
    bad.then(rpc::Status::default)
}

impl Speech for Delta {
    const COMPLETE: bool = false;

    fn ask(kind: ResourceType, _: &str, names: &Names<'_>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: kind.url().to_owned(),
            resource_names_subscribe: names.new.to_vec(),
            resource_names_unsubscribe: names.old.to_vec(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn answer(response: &ResponseToProxy, bad: bool, wanted: &BTreeSet<String>) -> DeltaDiscoveryRequest {
        let request = Self::ask(response.kind, "", &Names::same(wanted));
        DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), error_detail: error(bad), ..request }
    }

    fn come_back(
        kind: ResourceType,
        has: BTreeMap<String, String>,
        _: &str,
        wanted: &BTreeSet<String>,
    ) -> DeltaDiscoveryRequest {
        let new: Vec<_> = if kind == Endpoints { wanted.iter().cloned().collect() } else { Vec::new() };
        let request = Self::ask(kind, "", &Names { wanted, new: &new, old: &[] });
        DeltaDiscoveryRequest { initial_resource_versions: has.into_iter().collect(), ..request }
    }
}

impl Speech for Sotw {
    const COMPLETE: bool = true;

    fn ask(kind: ResourceType, nonce: &str, names: &Names<'_>) -> DiscoveryRequest {
        let names = if kind == Endpoints { names.wanted.iter().cloned().collect() } else { Vec::new() };
        DiscoveryRequest {
            type_url: kind.url().to_owned(),
            resource_names: names,
            response_nonce: nonce.to_owned(),
            ..DiscoveryRequest::default()
        }
    }

    fn answer(response: &ResponseToProxy, bad: bool, wanted: &BTreeSet<String>) -> DiscoveryRequest {
        let request = Self::ask(response.kind, &response.nonce, &Names::same(wanted));
        DiscoveryRequest { error_detail: error(bad), ..request }
    }

    fn come_back(
        kind: ResourceType,
        _: BTreeMap<String, String>,
        accepted: &str,
        wanted: &BTreeSet<String>,
    ) -> DiscoveryRequest {
        DiscoveryRequest { version_info: accepted.to_owned(), ..Self::ask(kind, "", &Names::same(wanted)) }
    }
}
