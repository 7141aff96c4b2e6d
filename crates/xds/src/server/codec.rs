//! Both directions of a stream: requests as generated messages, responses as octets that streams share.
//!
//! ```text
//!   gRPC message:  0 | length | version, nonce │ content ...
//!   HTTP/2 data:       the stream's own        │ shared by reference, never copied
//! ```

use std::{
    convert::Infallible,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder},
    codegen::http::HeaderMap,
};

use crate::session::server::ResponseToProxy;

/// A response, or the end of the stream.
pub(super) type Outgoing = Result<ResponseToProxy, Status>;

/// Octets of a message before the encoded one: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Up to this size, a message is copied into one frame, which costs less than a frame more.
const SMALL: usize = 1 << 10;

/// The body of the answer to a stream's call. It holds no more of the responses than the queue does.
pub(super) struct Responses {
    queue: mpsc::Receiver<Outgoing>,
    /// The second frame of a message.
    rest: Option<Bytes>,
    ended: bool,
}

impl Responses {
    pub(super) fn new(queue: mpsc::Receiver<Outgoing>) -> Self {
        Self { queue, rest: None, ended: false }
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.ended = true;
        self.queue.close();
        let mut trailers = HeaderMap::new();
        if let Err(status) = status.add_header(&mut trailers) {
            tracing::error!(%status, "describe the end of a stream");
        }
        Frame::trailers(trailers)
    }
}

impl Body for Responses {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let frame = match ready!(self.queue.poll_recv(context)) {
            Some(Ok(response)) => {
                let (first, rest) = frames(&response);
                self.rest = rest;
                Frame::data(first)
            }
            Some(Err(status)) => self.end(&status),
            None => self.end(&Status::ok("")),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// The frames of a message.
fn frames(response: &ResponseToProxy) -> (Bytes, Option<Bytes>) {
    let [own, content] = response.encoded();
    let length = own.len() + content.len();
    let is_small = length <= SMALL;
    let mut first = BytesMut::with_capacity(PREFIX + if is_small { length } else { own.len() });
    first.put_u8(0);
    first.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    first.put(own);
    if is_small {
        first.put(content);
        return (first.freeze(), None);
    }
    (first.freeze(), Some(content))
}

/// Decodes the requests of one flavour.
pub(super) struct RequestDecoder<R>(PhantomData<fn() -> R>);

impl<R> Default for RequestDecoder<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Message + Default> Decoder for RequestDecoder<R> {
    type Item = R;
    type Error = Status;

    /// An answer takes about a hundred octets, and a stream keeps its buffer.
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(SMALL, SMALL)
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        let malformed = |error| Status::invalid_argument(format!("read a discovery request: {error}"));
        R::decode(buffer).map(Some).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;

    use super::*;
    use crate::{Content, Flavour, Resource, ResourceType};

    fn response(octets: usize) -> ResponseToProxy {
        let resources = vec![Arc::new(Resource::new("a", vec![1; octets]))];
        let content = Content::new(Flavour::Delta, ResourceType::Cluster, resources, Vec::new());
        ResponseToProxy { version: "v".into(), nonce: "7".into(), content: Arc::new(content) }
    }

    async fn next(body: &mut Responses) -> Option<Frame<Bytes>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await.map(|Ok(frame)| frame)
    }

    #[tokio::test]
    async fn a_response_is_a_message_in_one_frame_or_two() {
        for (octets, frames) in [(10, 1), (100_000, 2)] {
            let (sender, receiver) = mpsc::channel(1);
            let mut body = Responses::new(receiver);
            sender.send(Ok(response(octets))).await.unwrap();
            let mut message = Vec::new();
            for _ in 0..frames {
                message.extend(next(&mut body).await.unwrap().into_data().unwrap());
            }
            let (prefix, message) = message.split_at(PREFIX);
            assert_eq!((prefix[0], u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize), (0, message.len()));
            let message = DeltaDiscoveryResponse::decode(message).unwrap();
            assert_eq!((&*message.nonce, &*message.resources[0].name), ("7", "a"));
        }
    }

    #[tokio::test]
    async fn the_end_is_told_after_the_responses_before_it() {
        let (sender, receiver) = mpsc::channel(2);
        let mut body = Responses::new(receiver);
        sender.send(Ok(response(1))).await.unwrap();
        sender.send(Err(Status::unavailable("the server is stopping"))).await.unwrap();
        assert!(next(&mut body).await.unwrap().is_data());
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
        assert!(body.is_end_stream() && next(&mut body).await.is_none() && sender.is_closed());

        let (sender, receiver) = mpsc::channel(1);
        let mut body = Responses::new(receiver);
        drop(sender);
        assert_eq!(next(&mut body).await.unwrap().into_trailers().unwrap()["grpc-status"], "0");
    }
}
