//! What a response says, encoded without an intermediate message.
//!
//! A response is a content with a version and a nonce. The content is the same for every stream that is sent the same,
//! so its octets are shared by reference, and compressed once for all streams whose proxies accept it. The version and
//! the nonce come before it, because the order of fields is free.
//! Field numbers are those of `envoy/service/discovery/v3/discovery.proto`.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::{Flavour, Resource, ResourceType, gzip::Deflated};

/// Up to this size, a message is copied into one frame and not compressed, which costs less than frames more and an
/// agent's work. It fits into one packet anyway.
pub(crate) const SMALL: usize = 1 << 10;

/// What a response says about resources of a type.
#[derive(Clone, Debug)]
pub struct Content {
    /// Selects the message: `DeltaDiscoveryResponse` or `DiscoveryResponse`.
    pub flavour: Flavour,
    /// The type.
    pub kind: ResourceType,
    /// New and changed resources; for the state of the world, all resources.
    pub resources: Vec<Arc<Resource>>,
    /// Names that are removed or do not exist. Always empty for the state of the world.
    pub removed: Vec<Arc<str>>,
    /// The octets, where many streams need them.
    kept: Option<Kept>,
}

/// Octets in each form, once one stream needed it.
#[derive(Clone, Debug, Default)]
struct Kept {
    plain: OnceLock<Bytes>,
    /// `None` for few octets.
    deflated: OnceLock<Option<Arc<Deflated>>>,
}

/// The octets follow from the rest.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        (self.flavour, self.kind) == (other.flavour, other.kind)
            && (&self.resources, &self.removed) == (&other.resources, &other.removed)
    }
}

impl Eq for Content {}

/// Octets that a resource takes in a delta response, accurate enough to split by.
pub(crate) fn weight(resource: &Resource) -> usize {
    const FRAMES: usize = 96;
    resource.body.len() + resource.name.len() + resource.version.len() + FRAMES
}

impl Content {
    /// A content for one stream.
    pub fn new(flavour: Flavour, kind: ResourceType, resources: Vec<Arc<Resource>>, removed: Vec<Arc<str>>) -> Self {
        Self { flavour, kind, resources, removed, kept: None }
    }

    /// The same content for many streams: it is encoded once, and its octets are kept as long as it is.
    #[must_use]
    pub(crate) fn shared(self) -> Self {
        Self { kept: Some(Kept::default()), ..self }
    }

    /// The names with their versions; those that are removed without.
    pub fn items(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<str>>)> {
        let resources = self.resources.iter().map(|resource| (&resource.name, Some(&resource.version)));
        resources.chain(self.removed.iter().map(|name| (name, None)))
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.resources.len() + self.removed.len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its part of the message.
    pub(crate) fn octets(&self) -> Bytes {
        match &self.kept {
            Some(kept) => kept.plain.get_or_init(|| self.encoded()).clone(),
            None => self.encoded(),
        }
    }

    /// Its part of the message, compressed; `None` where that is not worth its while, for one stream or few octets.
    pub(crate) fn deflated(&self) -> Option<&Deflated> {
        let deflate = || (self.encoded_len() > SMALL).then(|| Arc::new(Deflated::new(&self.encoded())));
        self.kept.as_ref()?.deflated.get_or_init(deflate).as_deref()
    }

    fn encoded(&self) -> Bytes {
        let mut buffer = BytesMut::with_capacity(self.encoded_len());
        for resource in &self.resources {
            match self.flavour {
                Flavour::Delta => put_delta_resource(self.kind, resource, &mut buffer),
                Flavour::Sotw => put_any(2, self.kind, resource, &mut buffer),
            }
        }
        put_text(4, self.kind.url(), &mut buffer);
        for name in &self.removed {
            put_text(6, name, &mut buffer);
        }
        buffer.freeze()
    }

    fn encoded_len(&self) -> usize {
        let resource_len = |resource: &Arc<Resource>| match self.flavour {
            Flavour::Delta => field_len(2, delta_resource_len(self.kind, resource)),
            Flavour::Sotw => field_len(2, any_len(self.kind, resource)),
        };
        self.resources.iter().map(resource_len).sum::<usize>()
            + field_len(4, self.kind.url().len())
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

/// Appends a field of text.
pub(crate) fn put_text(tag: u32, text: &str, buffer: &mut impl BufMut) {
    put_length(tag, text.len(), buffer);
    buffer.put_slice(text.as_bytes());
}

fn put_length(tag: u32, length: usize, buffer: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

/// Octets that a field of this length takes.
pub(crate) fn field_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}
