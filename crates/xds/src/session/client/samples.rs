//! Resources and responses for tests: small messages with a name, as every resource has, and a field that varies.

use std::{net::Ipv4Addr, sync::Arc};

use boshy_mesh::Hostname;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use prost::Message;

use super::ResponseFromPilot;
use crate::{
    Resource, ResourceType,
    names::{Name, Needs},
};

/// 169.254.255.N.
pub(crate) fn vip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(169, 254, 255, last)
}

/// A name with the address [`vip`], from a pilot that does not say what it needs.
pub(crate) fn name(host: &str, last: u8) -> Resource {
    named(host, last, None)
}

/// A name with the address [`vip`] that needs these listeners and clusters.
pub(crate) fn name_needing(host: &str, last: u8, listeners: &[&str], clusters: &[&str]) -> Resource {
    let [listeners, clusters] = [listeners, clusters].map(|names| names.iter().map(|name| (*name).into()).collect());
    named(host, last, Some(Needs { listeners, clusters }))
}

fn named(host: &str, last: u8, needs: Option<Needs>) -> Resource {
    let name = Name { host: Hostname::parse(host).unwrap(), vip: vip(last), needs: needs.map(Arc::new) };
    Resource::new(host, name.encode())
}

/// A resource of any type but names. Every `edition` has a different version.
pub(crate) fn listener(name: &str, edition: u32) -> Resource {
    let message = Listener { name: name.to_owned(), stat_prefix: edition.to_string(), ..Listener::default() };
    Resource::new(name, message.encode_to_vec())
}

/// The last response of a type.
pub(crate) fn response(kind: ResourceType, nonce: &str, resources: &[Resource], removed: &[&str]) -> ResponseFromPilot {
    ResponseFromPilot {
        kind,
        nonce: nonce.to_owned(),
        version: format!("version of {nonce}"),
        resources: resources.to_vec(),
        removed: removed.iter().map(|name| (*name).into()).collect(),
        complete: true,
    }
}
