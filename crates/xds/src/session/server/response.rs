//! Encodes responses without an intermediate message.
//!
//! A resource's bytes are shared by all streams, whereas the generated message would need a copy for each stream. The
//! nonce comes last. All octets before it are the same for every stream that is sent the same, so this is where they
//! can be encoded once and shared. Field numbers are those of `envoy/service/discovery/v3/discovery.proto`.

use std::sync::Arc;

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::{Flavour, Resource, ResourceType};

/// A response on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseToProxy {
    /// Selects the message: `DeltaDiscoveryResponse` or `DiscoveryResponse`.
    pub flavour: Flavour,
    /// The type.
    pub kind: ResourceType,
    /// Version of the whole type.
    pub version: Arc<str>,
    /// Repeated in the proxy's answer.
    pub nonce: String,
    /// New and changed resources; for the state of the world, all resources.
    pub resources: Vec<Arc<Resource>>,
    /// Names that are removed or do not exist. Always empty for the state of the world.
    pub removed: Vec<Arc<str>>,
}

/// Octets that a resource takes in a delta response, accurate enough to split by.
pub(crate) fn weight(resource: &Resource) -> usize {
    const FRAMES: usize = 96;
    resource.body.len() + resource.name.len() + resource.version.len() + FRAMES
}

impl ResponseToProxy {
    /// Appends the encoded message.
    pub fn encode(&self, buffer: &mut impl BufMut) {
        self.encode_content(buffer);
        put_text(5, &self.nonce, buffer);
    }

    /// Appends all but the nonce.
    fn encode_content(&self, buffer: &mut impl BufMut) {
        put_text(1, &self.version, buffer);
        for resource in &self.resources {
            match self.flavour {
                Flavour::Delta => put_delta_resource(self.kind, resource, buffer),
                Flavour::Sotw => put_any(2, self.kind, resource, buffer),
            }
        }
        put_text(4, self.kind.url(), buffer);
        for name in &self.removed {
            put_text(6, name, buffer);
        }
    }

    /// Length of the encoded message.
    pub fn encoded_len(&self) -> usize {
        let resource_len = |resource: &Arc<Resource>| match self.flavour {
            Flavour::Delta => field_len(2, delta_resource_len(self.kind, resource)),
            Flavour::Sotw => field_len(2, any_len(self.kind, resource)),
        };
        field_len(1, self.version.len())
            + self.resources.iter().map(resource_len).sum::<usize>()
            + field_len(4, self.kind.url().len())
            + field_len(5, self.nonce.len())
            + self.removed.iter().map(|name| field_len(6, name.len())).sum::<usize>()
    }
}

/// `Resource { version = 1, resource = 2, name = 3 }`.
fn put_delta_resource(kind: ResourceType, resource: &Resource, buffer: &mut impl BufMut) {
    put_length(2, delta_resource_len(kind, resource), buffer);
    put_text(1, &resource.version, buffer);
    put_any(2, kind, resource, buffer);
    put_text(3, &resource.name, buffer);
}

fn delta_resource_len(kind: ResourceType, resource: &Resource) -> usize {
    field_len(1, resource.version.len()) + field_len(2, any_len(kind, resource)) + field_len(3, resource.name.len())
}

/// `Any { type_url = 1, value = 2 }`.
fn put_any(tag: u32, kind: ResourceType, resource: &Resource, buffer: &mut impl BufMut) {
    put_length(tag, any_len(kind, resource), buffer);
    put_text(1, kind.url(), buffer);
    put_length(2, resource.body.len(), buffer);
    buffer.put_slice(&resource.body);
}

fn any_len(kind: ResourceType, resource: &Resource) -> usize {
    field_len(1, kind.url().len()) + field_len(2, resource.body.len())
}

fn put_text(tag: u32, text: &str, buffer: &mut impl BufMut) {
    put_length(tag, text.len(), buffer);
    buffer.put_slice(text.as_bytes());
}

fn put_length(tag: u32, length: usize, buffer: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

fn field_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
    use prost::Message;

    use super::*;

    fn encoded(flavour: Flavour) -> Vec<u8> {
        let response = ResponseToProxy {
            flavour,
            kind: ResourceType::Listener,
            version: "v".into(),
            nonce: "7".into(),
            resources: vec![Arc::new(Resource::new("a", vec![1; 300])), Arc::new(Resource::new("b", Vec::new()))],
            removed: if flavour == Flavour::Delta { vec!["c".into()] } else { Vec::new() },
        };
        let mut buffer = Vec::new();
        response.encode(&mut buffer);
        assert_eq!(buffer.len(), response.encoded_len());
        buffer
    }

    #[test]
    fn the_generated_delta_message_reads_it() {
        let message = DeltaDiscoveryResponse::decode(&*encoded(Flavour::Delta)).unwrap();
        assert_eq!(
            (&*message.system_version_info, &*message.nonce, &*message.type_url),
            ("v", "7", ResourceType::Listener.url())
        );
        assert_eq!(message.removed_resources, ["c"]);
        let names: Vec<_> = message.resources.iter().map(|resource| &*resource.name).collect();
        assert_eq!(names, ["a", "b"]);
        let any = message.resources[0].resource.as_ref().unwrap();
        assert_eq!((&*any.type_url, &any.value), (ResourceType::Listener.url(), &vec![1; 300]));
        assert_eq!(message.resources[0].version, &*Resource::new("a", vec![1; 300]).version);
    }

    #[test]
    fn the_generated_state_of_the_world_message_reads_it() {
        let message = DiscoveryResponse::decode(&*encoded(Flavour::Sotw)).unwrap();
        assert_eq!(
            (&*message.version_info, &*message.nonce, &*message.type_url),
            ("v", "7", ResourceType::Listener.url())
        );
        assert_eq!((message.resources.len(), &message.resources[0].value), (2, &vec![1; 300]));
    }
}
