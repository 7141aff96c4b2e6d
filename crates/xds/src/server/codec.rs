//! Both directions of a stream: requests as generated messages, responses as octets that streams share.
//!
//! ```text
//!   gRPC message:  0 | length | version, nonce │ content ...
//!   compressed:    1 | length | version, nonce │ content ...                         │ checksum
//!   HTTP/2 data:       the stream's own        │ shared by reference, never copied   │ the stream's own
//! ```
//!
//! A message is compressed where the proxy accepts gzip, and where that is done once for many streams (`content`).

use std::{
    convert::Infallible,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
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

use crate::{content::SMALL, gzip, session::server::ResponseToProxy};

/// A response, or the end of the stream.
pub(super) type Outgoing = Result<ResponseToProxy, Status>;

/// Octets of a message before the encoded one: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Header with which a proxy says what it can decompress.
const ACCEPTED: &str = "grpc-accept-encoding";

/// Whether a proxy accepts compressed messages.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPTED).into_iter().filter_map(|listed| listed.to_str().ok());
    listed.flat_map(|listed| listed.split(',')).any(|encoding| encoding.trim() == gzip::ENCODING)
}

/// The body of the answer to a stream's call. It holds no more of the responses than the queue does.
pub(super) struct Responses {
    queue: mpsc::Receiver<Outgoing>,
    /// Whether the proxy accepts gzip.
    gzip: bool,
    /// Further frames of a message.
    rest: vec::IntoIter<Bytes>,
    ended: bool,
}

impl Responses {
    pub(super) fn new(queue: mpsc::Receiver<Outgoing>, gzip: bool) -> Self {
        Self { queue, gzip, rest: Vec::new().into_iter(), ended: false }
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
        if let Some(next) = self.rest.next() {
            return Poll::Ready(Some(Ok(Frame::data(next))));
        }
        let frame = match ready!(self.queue.poll_recv(context)) {
            Some(Ok(response)) => {
                let (first, rest) = frames(&response, self.gzip);
                self.rest = rest.into_iter();
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

/// The first frame of a message, and further ones.
fn frames(response: &ResponseToProxy, gzip: bool) -> (Bytes, Vec<Bytes>) {
    let compressed = if gzip { response.compressed() } else { None };
    let flag = u8::from(compressed.is_some());
    let [before, shared, after] = compressed.unwrap_or_else(|| {
        let [own, content] = response.encoded();
        [own, content, Bytes::new()]
    });
    let length = before.len() + shared.len() + after.len();
    let is_small = length <= SMALL;
    let mut first = BytesMut::with_capacity(PREFIX + if is_small { length } else { before.len() });
    first.put_u8(flag);
    first.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    first.put(before);
    if is_small {
        first.put(shared);
        first.put(after);
        return (first.freeze(), Vec::new());
    }
    let mut rest = vec![shared];
    rest.extend(Some(after).filter(|after| !after.is_empty()));
    (first.freeze(), rest)
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
    use std::{future::poll_fn, io::Read, sync::Arc};

    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
    use flate2::read::GzDecoder;
    use tonic::codegen::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::{Content, Flavour, Resource, ResourceType};

    fn response(octets: usize) -> ResponseToProxy {
        let content = Arc::new(content(vec![1; octets]));
        ResponseToProxy { version: "v".into(), nonce: "7".into(), content }
    }

    fn content(body: Vec<u8>) -> Content {
        let resources = vec![Arc::new(Resource::new("a", body))];
        Content::new(Flavour::Delta, ResourceType::Cluster, resources, Vec::new())
    }

    /// The frames of a message, and the message's flag for compression and its octets.
    fn sent(response: &ResponseToProxy, gzip: bool) -> (usize, u8, Vec<u8>) {
        let (first, rest) = frames(response, gzip);
        let message = [&[first], &*rest].concat().concat();
        let (prefix, octets) = message.split_at(PREFIX);
        assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, octets.len());
        (1 + rest.len(), prefix[0], octets.to_vec())
    }

    async fn next(body: &mut Responses) -> Option<Frame<Bytes>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await.map(|Ok(frame)| frame)
    }

    #[tokio::test]
    async fn a_response_is_a_message_in_one_frame_or_two() {
        for (octets, frames) in [(10, 1), (100_000, 2)] {
            let (sender, receiver) = mpsc::channel(1);
            let mut body = Responses::new(receiver, false);
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

    #[test]
    fn what_streams_share_is_compressed_where_the_proxy_accepts_it() {
        // One body that is compressed to little, and one that is not.
        let noise = (0..10_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for (body, frames) in [(vec![1; 10_000], 1), (noise, 3)] {
            let response = ResponseToProxy { content: Arc::new(content(body).shared()), ..response(0) };
            let (_, flag, plain) = sent(&response, false);
            assert_eq!((flag, &*plain), (0, &*response.encoded().concat()));
            let (count, flag, message) = sent(&response, true);
            assert_eq!((count, flag), (frames, 1));
            let mut read = Vec::new();
            GzDecoder::new(&*message).read_to_end(&mut read).unwrap();
            assert!(read == plain, "another message");
        }
    }

    #[test]
    fn what_one_stream_is_sent_and_what_is_small_is_not_compressed() {
        let small = ResponseToProxy { content: Arc::new(content(vec![1; 100]).shared()), ..response(0) };
        for response in [response(10_000), small] {
            assert_eq!(sent(&response, true), sent(&response, false));
        }
    }

    #[test]
    fn a_proxy_lists_what_it_accepts() {
        let accepts = |listed: &[&'static str]| {
            let values =
                listed.iter().map(|value| (HeaderName::from_static(ACCEPTED), HeaderValue::from_static(value)));
            accepts_gzip(&values.collect())
        };
        assert!(accepts(&["gzip"]) && accepts(&["identity, deflate ,gzip"]) && accepts(&["zstd", "gzip,identity"]));
        assert!(!accepts(&[]) && !accepts(&["identity,deflate"]) && !accepts(&["x-gzip"]));
    }

    #[tokio::test]
    async fn the_end_is_told_after_the_responses_before_it() {
        let (sender, receiver) = mpsc::channel(2);
        let mut body = Responses::new(receiver, true);
        sender.send(Ok(response(1))).await.unwrap();
        sender.send(Err(Status::unavailable("the server is stopping"))).await.unwrap();
        assert!(next(&mut body).await.unwrap().is_data());
        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
        assert!(body.is_end_stream() && next(&mut body).await.is_none() && sender.is_closed());

        let (sender, receiver) = mpsc::channel(1);
        let mut body = Responses::new(receiver, true);
        drop(sender);
        assert_eq!(next(&mut body).await.unwrap().into_trailers().unwrap()["grpc-status"], "0");
    }
}
