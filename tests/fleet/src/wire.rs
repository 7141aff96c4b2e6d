//! What an agent says and hears on its stream, as octets.
//!
//! Requests are the agent's own ([`RequestToPilot`](boshy_xds::session::client::RequestToPilot)). Of a response, only
//! what the answer and a wait depend on is read, and nothing of it is copied: all agents of a fleet share one thread.

use boshy_xds::ResourceType;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Length of the head of a gRPC message: a flag for compression, and the length of the message.
const HEAD: usize = 5;

/// Of a `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    #[prost(message, repeated, tag = "2")]
    pub(crate) resources: Vec<Resource>,
    #[prost(string, tag = "4")]
    pub(crate) type_url: String,
    #[prost(string, tag = "5")]
    pub(crate) nonce: String,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(crate) removed: Vec<Bytes>,
}

/// Of a `Resource`. Texts are kept as octets, because nobody reads them.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) version: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) name: Bytes,
}

/// What one agent adds to the first requests that all agents send: fields of the same message, which may come in parts.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OwnPart {
    #[prost(message, optional, tag = "1")]
    pub(crate) node: Option<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) held: Vec<HeldVersion>,
}

/// Of Envoy's `Node`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// An entry of `initial_resource_versions`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeldVersion {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) version: Bytes,
}

impl Response {
    /// The type; `None` for one that no agent asks for.
    pub(crate) fn kind(&self) -> Option<ResourceType> {
        ResourceType::from_url(&self.type_url)
    }
}

/// A message as gRPC sends it.
pub(crate) fn framed(parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u8(0);
    frame.put_u32(length.try_into().expect("a request is shorter than 4 GiB"));
    parts.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

/// Cuts a stream of octets into the messages of gRPC.
#[derive(Debug, Default)]
pub(crate) struct Frames(BytesMut);

/// A message as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Plain(Bytes),
    Compressed(Bytes),
}

impl Frames {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    /// The next message, once all of it has come.
    pub(crate) fn next(&mut self) -> Option<Heard> {
        let (head, rest) = self.0.split_first_chunk::<HEAD>()?;
        let [flag, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if rest.len() < length {
            return None;
        }
        let message = self.0.split_to(HEAD + length).freeze().slice(HEAD..);
        if self.0.is_empty() {
            // An idle agent keeps no buffer.
            self.0 = BytesMut::new();
        }
        Some(if flag == 0 { Heard::Plain(message) } else { Heard::Compressed(message) })
    }
}

#[cfg(test)]
mod tests {
    use boshy_mesh::NodeId;
    use boshy_xds::session::client::RequestToPilot;

    use super::*;

    #[test]
    fn messages_are_cut_wherever_the_octets_were() {
        let sent = [framed(&[b"one"]), framed(&[]), framed(&[b"thr", b"ee"])].concat();
        for length in 1..sent.len() {
            let mut frames = Frames::default();
            let mut heard = Vec::new();
            for piece in sent.chunks(length) {
                frames.push(piece);
                heard.extend(std::iter::from_fn(|| frames.next()));
            }
            assert_eq!(heard, ["one", "", "three"].map(|message| Heard::Plain(message.into())));
            assert_eq!(frames.0.capacity(), 0);
        }
    }

    #[test]
    fn a_compressed_message_is_told_apart() {
        let mut frames = Frames::default();
        frames.push(&[1, 0, 0, 0, 1, b'x']);
        assert_eq!(frames.next(), Some(Heard::Compressed("x".into())));
    }

    #[test]
    fn a_request_in_parts_is_the_agents_own() {
        let node = NodeId::sidecar([10, 0, 0, 1].into(), "vm", "x");
        let subscribe = |held: &[(&str, &str)]| RequestToPilot::Subscribe {
            kind: ResourceType::Cluster,
            held: held.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect(),
            mark: false,
        };
        let shared = subscribe(&[("a", "1")]).into_wire(None).encode_to_vec();
        let own = OwnPart {
            node: Some(Node { id: node.as_str().to_owned() }),
            held: vec![HeldVersion { name: "b".into(), version: "2".into() }],
        };
        let mut whole = subscribe(&[]).into_wire(Some(&node));
        whole.initial_resource_versions = [("a".into(), "1".into()), ("b".into(), "2".into())].into();
        let mut read = subscribe(&[]).into_wire(None);
        read.clear();
        read.merge(&*[shared, own.encode_to_vec()].concat()).unwrap();
        assert_eq!(read, whole);
    }

    #[test]
    fn of_a_response_is_read_what_an_agent_reads() {
        // Field 2 with version (1), body (2: an Any) and name (3); type, nonce and a removed name.
        let mut body = vec![0x12, 0];
        for (tag, text) in [(0x0a, "7"), (0x12, "\u{12}\u{1}x"), (0x1a, "name")] {
            body.extend([&[tag, text.len() as u8], text.as_bytes()].concat());
        }
        body[1] = body.len() as u8 - 2;
        for (tag, text) in [(0x22, ResourceType::Cluster.url()), (0x2a, "3"), (0x32, "gone")] {
            body.extend([&[tag, text.len() as u8], text.as_bytes()].concat());
        }
        let response = Response::decode(Bytes::from(body)).unwrap();
        assert_eq!(response.kind(), Some(ResourceType::Cluster));
        assert_eq!((response.nonce.as_str(), &response.removed[0]), ("3", &Bytes::from("gone")));
        assert_eq!(response.resources, [Resource { version: "7".into(), name: "name".into() }]);
    }
}
