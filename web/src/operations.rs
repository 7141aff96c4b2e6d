//! Endpoints for operators and monit, the same in both roles: `/`, `/healthz`, `/readyz`, `/metrics`, `/status`, by
//! `GET` and `HEAD`.

use std::sync::Arc;

use actix_web::{
    HttpResponse, Resource,
    http::header::ContentType,
    web::{self, Data, ServiceConfig},
};
use serde::Serialize;

use crate::{
    error::RequestError,
    metrics::{CONTENT_TYPE, Page},
};

/// State of a role at one moment. `/status` shows it whole.
pub trait Report: Serialize + 'static {
    /// Whether the role is ready.
    ///
    /// # Errors
    /// What is missing, in a form for people.
    fn readiness(&self) -> Result<(), String>;

    /// Adds its values to a scrape.
    fn measure(&self, page: &mut Page);
}

/// Creates a report. It is called on a worker of the server for every request, so it must not block.
pub type Reporter<R> = Arc<dyn Fn() -> R + Send + Sync>;

/// Checks whether the process as a whole is alive; the error says what is wrong, in a form for people. It is called for
/// every `/healthz`, so it must not block.
pub type Health = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the endpoints read.
pub(crate) struct Operations<R> {
    /// Checks whether the process is alive.
    pub(crate) health: Health,
    /// Creates the report.
    pub(crate) report: Reporter<R>,
    /// Adds the metrics that the server itself counts.
    pub(crate) counted: Arc<dyn Fn(&mut Page) + Send + Sync>,
    /// Text of `/`.
    pub(crate) index: &'static str,
}

/// Mounts the endpoints.
pub(crate) fn configure<R: Report>(config: &mut ServiceConfig, operations: Operations<R>) {
    config
        .app_data(Data::new(operations))
        .service(readable("/").route(web::get().to(index::<R>)).route(web::head().to(index::<R>)))
        .service(readable("/healthz").route(web::get().to(healthz::<R>)).route(web::head().to(healthz::<R>)))
        .service(readable("/readyz").route(web::get().to(readyz::<R>)).route(web::head().to(readyz::<R>)))
        .service(readable("/metrics").route(web::get().to(metrics::<R>)).route(web::head().to(metrics::<R>)))
        .service(readable("/status").route(web::get().to(status::<R>)).route(web::head().to(status::<R>)));
}

/// A resource for `GET` and `HEAD`. Other methods are refused with the same text on every path.
pub(crate) fn readable(path: &str) -> Resource {
    web::resource(path).default_service(web::to(async || Err::<HttpResponse, _>(RequestError::MethodNotAllowed)))
}

async fn index<R: Report>(operations: Data<Operations<R>>) -> HttpResponse {
    plain(operations.index)
}

/// Whether the process is alive. It fails when a restart of the process would help, that is, when an actor is stuck.
/// Readiness is reported by [`readyz`], because a restart would not bring a director back.
async fn healthz<R: Report>(operations: Data<Operations<R>>) -> Result<HttpResponse, RequestError> {
    (operations.health)().map_err(|reason| RequestError::Stuck { reason })?;
    Ok(plain("ok\n"))
}

async fn readyz<R: Report>(operations: Data<Operations<R>>) -> Result<HttpResponse, RequestError> {
    (operations.report)().readiness().map_err(|reason| RequestError::NotReady { reason })?;
    Ok(plain("ready\n"))
}

async fn metrics<R: Report>(operations: Data<Operations<R>>) -> HttpResponse {
    let mut page = Page::new();
    (operations.report)().measure(&mut page);
    (operations.counted)(&mut page);
    HttpResponse::Ok().content_type(CONTENT_TYPE).body(page.render())
}

async fn status<R: Report>(operations: Data<Operations<R>>) -> HttpResponse {
    let report = (operations.report)();
    let body = serde_json::to_vec_pretty(&report).expect("reports have string keys and no fallible serializer");
    HttpResponse::Ok().content_type(ContentType::json()).body(body)
}

fn plain(text: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body(text)
}
