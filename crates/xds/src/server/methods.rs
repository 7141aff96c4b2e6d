//! The two methods of the service, by their path.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService},
};

use super::{AdsService, MAX_REQUEST, codec::RawCodec, stream::StreamService};
use crate::session::server::{Channel, Delta, Sotw};

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

impl AdsService {
    fn stream<C: Channel + Send + 'static>(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<http::Response<Body>, Infallible> {
        let stream = StreamService::<C>::new(self.clone());
        let mut grpc = Grpc::new(RawCodec::<C>::default()).max_decoding_message_size(MAX_REQUEST);
        Box::pin(async move { Ok(grpc.streaming(stream, request).await) })
    }
}

impl NamedService for AdsService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for AdsService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            DELTA => self.stream::<Delta>(request),
            SOTW => self.stream::<Sotw>(request),
            _ => Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) }),
        }
    }
}
