//! The handler that bosh-dns calls for a handler of source type `http`, once per question and over TCP: any path and
//! any method, with `?name=<name>&type=<number>`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header::ContentType},
    web::{self, Data, Query, ServiceConfig},
};
use boshy_dns::{
    CurrentZone,
    handler::{HandlerQuery, answer},
};

/// State that the handler reads. Clones share the count.
#[derive(Clone)]
pub struct HandlerView {
    zones: CurrentZone,
    requests: Arc<AtomicU64>,
}

impl HandlerView {
    /// Answers from the same zone as the DNS server.
    pub fn new(zones: CurrentZone) -> Self {
        Self { zones, requests: Arc::default() }
    }

    /// Number of requests.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Mounts the handler.
pub fn configure(config: &mut ServiceConfig, view: &HandlerView) {
    config.app_data(Data::new(view.clone())).default_service(web::to(handle));
}

async fn handle(view: Data<HandlerView>, request: HttpRequest) -> HttpResponse {
    view.requests.fetch_add(1, Ordering::Relaxed);
    // Parsed as pairs, so that a repeated or unknown parameter does not make the request fail.
    let pairs = Query::<Vec<(String, String)>>::from_query(request.query_string());
    let pairs = pairs.as_ref().map_or(&[][..], |pairs| pairs.as_slice());
    let first = |wanted| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let query = HandlerQuery { name: first("name"), qtype: first("type") };
    let answer = view.zones.patiently(|zone| answer(zone, query), |answer| answer.status != 503).await;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).content_type(ContentType::json()).body(answer.body)
}
