//! Serves a gRPC service that has one method, with one request and one answer.

use std::convert::Infallible;

use futures::future::BoxFuture;
use prost::Message;
use tonic::{
    Status,
    body::Body,
    codegen::http,
    server::{Grpc, UnaryService},
};
use tonic_prost::ProstCodec;

/// The answer to a request, whatever it is.
pub(super) type Answered = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

/// Answers a request of at most `limit` octets by the method at `path`. There is no other.
pub(super) fn answer<M, Q>(method: M, path: &str, limit: usize, request: http::Request<Body>) -> Answered
where
    M: UnaryService<Q, Response: Message + Default + 'static, Future: Send> + Send + 'static,
    Q: Message + Default + 'static,
{
    if request.uri().path() != path {
        return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
    }
    let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(limit);
    Box::pin(async move { Ok(grpc.unary(method, request).await) })
}
