//! What the mesh says about a resource in its metadata, under the mesh's own name.

use std::collections::HashMap;

use envoy_types::pb::{
    envoy::config::core::v3::Metadata,
    google::protobuf::{Struct, Value, value::Kind},
};

const BOSHY: &str = "boshy";

/// One fact about a resource. More than one would have no stable encoding.
pub(super) fn says(key: &str, what: &str) -> Metadata {
    let value = Value { kind: Some(Kind::StringValue(what.to_owned())) };
    let fields = Struct { fields: HashMap::from([(key.to_owned(), value)]) };
    Metadata { filter_metadata: HashMap::from([(BOSHY.to_owned(), fields)]), ..Metadata::default() }
}

/// The fact under a key.
pub(super) fn said<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    match metadata.filter_metadata.get(BOSHY)?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(what) => Some(what),
        _ => None,
    }
}
