//! What the mesh says about a resource in its metadata, under the mesh's own name.

use std::collections::HashMap;

use envoy_types::pb::{
    envoy::config::core::v3::Metadata,
    google::protobuf::{Any, Struct, Value, value::Kind},
};
use prost::Message;

const BOSHY: &str = "boshy";

/// One fact about a resource. More than one would have no stable encoding.
pub(super) fn says(key: &str, what: &str) -> Metadata {
    let value = Value { kind: Some(Kind::StringValue(what.to_owned())) };
    let fields = Struct { fields: HashMap::from([(key.to_owned(), value)]) };
    Metadata { filter_metadata: HashMap::from([(BOSHY.to_owned(), fields)]), ..Metadata::default() }
}

/// The same, and a text that nobody reads. A listener that differs in its filter chains alone is updated in place, and
/// Envoy then still reports the version before, so that what the chains are made of has to be said elsewhere, too.
pub(super) fn says_of_chains(key: &str, what: &str, chains: &str) -> Metadata {
    let of_chains = Any {
        type_url: "type.googleapis.com/google.protobuf.StringValue".to_owned(),
        value: chains.to_owned().encode_to_vec(),
    };
    Metadata { typed_filter_metadata: HashMap::from([(BOSHY.to_owned(), of_chains)]), ..says(key, what) }
}

/// The fact under a key.
pub(super) fn said<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    match metadata.filter_metadata.get(BOSHY)?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(what) => Some(what),
        _ => None,
    }
}
