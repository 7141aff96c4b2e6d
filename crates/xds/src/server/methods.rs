//! The two methods of the service, by their path.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use tonic::{
    Status, Streaming,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::{
    AdsService, MAX_REQUEST,
    codec::{RequestDecoder, Responses, accepts_gzip},
    connection::Connection,
    stream,
};
use crate::{
    Pacing, digest, gzip,
    session::server::{Channel, Delta, Sotw},
    table,
};

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// Header with the encoding of the messages that are compressed.
const ENCODING: &str = "grpc-encoding";

/// Content type of gRPC.
const GRPC: http::HeaderValue = http::HeaderValue::from_static("application/grpc");

impl AdsService {
    /// Begins a stream. The answer's headers are sent at once, because they tell an agent about the mesh.
    fn stream<C: Channel + Send + 'static>(&self, request: http::Request<Body>) -> http::Response<Body> {
        if request.headers().get(ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Status::unimplemented("requests are not compressed").into_http();
        }
        let (parts, body) = request.into_parts();
        let (gzip, pacing) = (accepts_gzip(&parts.headers), Pacing::of(&parts.headers));
        let decoder = RequestDecoder::<C::Request>::default();
        let requests = Streaming::new_request(decoder, body, None, Some(MAX_REQUEST));
        let responses = stream::begin::<C>(self, requests, parts.extensions.get::<Connection>().cloned(), pacing);
        let mut response = http::Response::new(Body::new(Responses::new(responses, gzip)));
        response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC);
        if gzip {
            response.headers_mut().insert(ENCODING, http::HeaderValue::from_static(gzip::ENCODING));
        }
        response.headers_mut().insert(digest::HEADER, http::HeaderValue::from_static(digest::FORM));
        if let Some(told) = self.told() {
            told.write(response.headers_mut());
        }
        response
    }
}

impl NamedService for AdsService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for AdsService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if let Some(known) = table::known(request.headers()) {
            self.proxies.knows(known);
        }
        ready(Ok(match request.uri().path() {
            DELTA => self.stream::<Delta>(request),
            SOTW => self.stream::<Sotw>(request),
            _ => Status::unimplemented("no such method").into_http(),
        }))
    }
}
