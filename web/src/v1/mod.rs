//! The v1 discovery API over HTTP: `route` turns a request into a question, `documents` turns a question into a body,
//! and `cache` keeps bodies.

pub(crate) mod api;
mod cache;
pub mod documents;
mod route;
mod url;

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ACCEPT, ContentType, LOCATION},
    },
    web::Bytes,
};
use boshy_mesh::{MeshSnapshot, NodeId};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use serde::Serialize;
use tokio::sync::watch;

use self::{
    api::Api,
    cache::{Counts, ResponseCache},
    route::{Question, Routed, route},
};
use crate::{error::RequestError, metrics::Page};

/// Serves the API from the snapshots of a channel. All workers of a server share it.
pub(crate) struct Discovery {
    cache: ResponseCache,
    requests: Family<RequestLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    status: u16,
}

#[derive(Serialize)]
struct CacheStatistics {
    cache_stats: BTreeMap<String, Counts>,
}

impl Discovery {
    pub(crate) fn new(snapshots: watch::Receiver<Arc<MeshSnapshot>>) -> Self {
        Self { cache: ResponseCache::new(snapshots), requests: Family::default() }
    }

    /// Answers every request that no other endpoint handles.
    pub(crate) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let accept = request.headers().get(ACCEPT).map(|value| value.to_str().unwrap_or("?"));
        let (method, response) = match route(request.method(), request.uri(), accept) {
            Ok(Routed::Ask { question, url }) => (question.name(), self.ask(question, url)),
            Ok(Routed::Moved { location }) => (OTHER, Ok(moved(location))),
            Err(error) => (OTHER, Err(error)),
        };
        let response = response.unwrap_or_else(|error| error.error_response());
        self.requests.get_or_create(&RequestLabels { method, status: response.status().as_u16() }).inc();
        response
    }

    /// Adds its counters to a scrape.
    pub(crate) fn measure(&self, page: &mut Page) {
        page.register("v1_requests", "Requests to the v1 discovery API", self.requests.clone());
        page.register("v1_cache_hits", "Responses served from the cache", self.cache.hits.clone());
        page.register("v1_cache_misses", "Responses rendered and stored in the cache", self.cache.misses.clone());
        page.gauge("v1_cache_bytes", "Octets of the responses in the cache", self.cache.bytes() as u64);
    }

    fn ask(&self, question: Question, url: String) -> Result<HttpResponse, RequestError> {
        match question {
            Question::Registration => Ok(json(documents::registration(&self.known(Api::AllEndpoints)?.snapshot).body)),
            Question::Endpoints { key } => {
                self.cached(Api::Endpoints, url, |snapshot| documents::service(snapshot, &key))
            }
            Question::Listeners { node } => {
                let node = parsed(Api::Listeners, &node)?;
                self.cached(Api::Listeners, url, |snapshot| documents::listeners(snapshot, &node))
            }
            Question::Clusters { node } => {
                let node = parsed(Api::Clusters, &node)?;
                self.cached(Api::Clusters, url, |snapshot| documents::clusters(snapshot, &node))
            }
            Question::Routes { name, node } => {
                parsed(Api::Routes, &node)?;
                self.known(Api::Routes)?;
                found(Api::Routes, documents::routes(&name))
            }
            Question::AvailabilityZone { node } => {
                let node = parsed(Api::AvailabilityZone, &node)?;
                let generation = self.known(Api::AvailabilityZone)?;
                found(Api::AvailabilityZone, documents::availability_zone(&generation.snapshot, &node))
            }
            Question::CacheStatistics => {
                Ok(json(documents::render(&CacheStatistics { cache_stats: self.cache.statistics() })))
            }
            Question::ResetCacheStatistics => {
                self.cache.reset_statistics();
                Ok(HttpResponse::Ok().finish())
            }
        }
    }

    fn cached(
        &self,
        api: Api,
        url: String,
        render: impl FnOnce(&MeshSnapshot) -> documents::Document,
    ) -> Result<HttpResponse, RequestError> {
        let generation = self.known(api)?;
        Ok(text(self.cache.respond(&generation, url, render)))
    }

    /// The current generation. An error while there is no snapshot, because unknown is not the same as an empty mesh.
    fn known(&self, api: Api) -> Result<Arc<cache::Generation>, RequestError> {
        let generation = self.cache.current();
        if generation.snapshot.generation == 0 {
            return Err(RequestError::NoSnapshot { api });
        }
        Ok(generation)
    }
}

/// Metric label for requests that match none of the API's methods.
const OTHER: &str = "Other";

impl Question {
    /// Name of the method in the metrics of this API.
    fn name(&self) -> &'static str {
        match self {
            Self::Registration => "ListAllEndpoints",
            Self::Endpoints { .. } => "ListEndpoints",
            Self::Listeners { .. } => "ListListeners",
            Self::Clusters { .. } => "ListClusters",
            Self::Routes { .. } => "ListRoutes",
            Self::AvailabilityZone { .. } => "AvailabilityZone",
            Self::CacheStatistics | Self::ResetCacheStatistics => OTHER,
        }
    }
}

fn parsed(api: Api, node: &str) -> Result<NodeId, RequestError> {
    node.parse().map_err(|reason| RequestError::Node { api, reason })
}

fn found(api: Api, document: Result<documents::Document, documents::Error>) -> Result<HttpResponse, RequestError> {
    document.map(|document| text(document.body)).map_err(|reason| RequestError::Discovery { api, reason })
}

/// All but two bodies of this API are declared as text, whether they are JSON or not.
fn text(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body(body)
}

fn json(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(body)
}

fn moved(location: String) -> HttpResponse {
    HttpResponse::build(StatusCode::MOVED_PERMANENTLY).insert_header((LOCATION, location)).finish()
}
