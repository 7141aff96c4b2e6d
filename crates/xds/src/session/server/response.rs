//! A response on a stream: a content that streams share, with a version and a nonce of the stream's own.

use std::{ops::Deref, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};

use crate::content::{Content, field_len, put_text};

/// A response on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseToProxy {
    /// Version of the whole type.
    pub version: Arc<str>,
    /// Repeated in the proxy's answer.
    pub nonce: String,
    /// What it says.
    pub content: Arc<Content>,
}

impl Deref for ResponseToProxy {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

impl ResponseToProxy {
    /// The encoded message in two parts: the stream's own, and what streams share.
    pub fn encoded(&self) -> [Bytes; 2] {
        [self.own(), self.content.octets()]
    }

    /// The message as gzip in three parts, the second of which streams share; `None` where that is not worth its while.
    pub fn compressed(&self) -> Option<[Bytes; 3]> {
        Some(self.content.deflated()?.behind(&self.own()))
    }

    fn own(&self) -> Bytes {
        let mut own = BytesMut::with_capacity(self.own_len());
        self.put_own(&mut own);
        own.freeze()
    }

    fn put_own(&self, buffer: &mut impl BufMut) {
        put_text(1, &self.version, buffer);
        put_text(5, &self.nonce, buffer);
    }

    fn own_len(&self) -> usize {
        field_len(1, self.version.len()) + field_len(5, self.nonce.len())
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
    use prost::Message;

    use super::*;
    use crate::{Flavour, Resource, ResourceType};

    fn encoded(flavour: Flavour) -> Vec<u8> {
        let resources = vec![Arc::new(Resource::new("a", vec![1; 300])), Arc::new(Resource::new("b", Vec::new()))];
        let removed = if flavour == Flavour::Delta { vec!["c".into()] } else { Vec::new() };
        let content = Arc::new(Content::new(flavour, ResourceType::Listener, resources, removed));
        ResponseToProxy { version: "v".into(), nonce: "7".into(), content }.encoded().concat()
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
