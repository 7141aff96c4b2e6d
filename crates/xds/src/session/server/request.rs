//! The common interface of both request messages, and the reasons to close a stream.

use boshy_mesh::{NodeId, NodeIdError};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    },
    google::rpc,
};
use prost::Message;

/// Length up to which a proxy's texts are kept.
const MAX_TEXT: usize = 1024;

/// Why a stream is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Close {
    /// A proxy must identify itself to be served.
    #[error("the first request of a stream must name its node")]
    NoNode,
    /// The node id is not `TYPE~IP~ID~DOMAIN`.
    #[error("read the node id")]
    BadNode(#[source] NodeIdError),
    /// The node id is longer than what operators are shown.
    #[error("a node id of {0} octets, at most {MAX_TEXT}")]
    LongNode(usize),
    /// Limit on the cost of a stream.
    #[error("too many or too long resource names are subscribed to; at most {0} octets per type")]
    TooManyNames(usize),
}

/// A request of either flavour.
pub trait DiscoveryRequestMessage: Message + Default + 'static {
    /// Requested type.
    fn type_url(&self) -> &str;
    /// Identity of the proxy; set in the first request of a stream.
    fn node(&self) -> Option<&Node>;
}

impl DiscoveryRequestMessage for DeltaDiscoveryRequest {
    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
}

impl DiscoveryRequestMessage for DiscoveryRequest {
    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
}

/// The identity of the proxy, from the first request of its stream.
///
/// # Errors
/// When the node id is missing, malformed or too long.
pub fn identify(first: &impl DiscoveryRequestMessage) -> Result<NodeId, Close> {
    let node = first.node().filter(|node| !node.id.is_empty()).ok_or(Close::NoNode)?;
    if node.id.len() > MAX_TEXT {
        return Err(Close::LongNode(node.id.len()));
    }
    node.id.parse().map_err(Close::BadNode)
}

/// The reason given for a rejection.
pub(crate) fn reason(error: &rpc::Status) -> &str {
    bounded(&error.message)
}

/// The text, cut to the maximum length.
pub(crate) fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_cut_between_characters() {
        let long = "ä".repeat(MAX_TEXT);
        assert_eq!(bounded(&long).len(), MAX_TEXT);
        assert_eq!(bounded(&format!("x{long}")).len(), MAX_TEXT - 1);
        assert_eq!(bounded("short"), "short");
    }

    #[test]
    fn a_stream_says_who_it_is() {
        let of = |id: &str| {
            let node = Some(Node { id: id.to_owned(), ..Node::default() });
            identify(&DeltaDiscoveryRequest { node, ..DeltaDiscoveryRequest::default() })
        };
        assert_eq!(of("sidecar~10.0.0.1~x~x").unwrap().as_str(), "sidecar~10.0.0.1~x~x");
        assert_eq!(of(""), Err(Close::NoNode));
        assert!(matches!(of("vm-1"), Err(Close::BadNode(_))));
        assert_eq!(of(&format!("sidecar~10.0.0.1~{}~x", "x".repeat(2000))), Err(Close::LongNode(2019)));
        assert_eq!(identify(&DiscoveryRequest::default()), Err(Close::NoNode));
    }
}
