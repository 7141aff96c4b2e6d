//! What operators and monit ask of either role: `/`, `/healthz`, `/readyz`, `/metrics`, `/status`, by `GET` and `HEAD`.

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

/// What a role says of itself at one moment. Shown whole at `/status`.
pub trait Report: Serialize + 'static {
    /// Whether the role can do its work.
    ///
    /// # Errors
    /// What is missing, for people.
    fn readiness(&self) -> Result<(), String>;

    /// Adds its figures to a scrape.
    fn measure(&self, page: &mut Page);
}

/// Makes a report. Called on a worker of the server for every request, so it must not wait.
pub type Reporter<R> = Arc<dyn Fn() -> R + Send + Sync>;

/// Whether the process is alive as a whole; what is wrong, for people. Called for every `/healthz`, so it must not wait.
pub type Health = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the endpoints need.
pub(crate) struct Operations<R> {
    /// Tells whether the process is alive.
    pub(crate) health: Health,
    /// Makes the report.
    pub(crate) report: Reporter<R>,
    /// Adds what the server itself counts.
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

/// A path whose other methods are refused in the words that every path uses.
pub(crate) fn readable(path: &str) -> Resource {
    web::resource(path).default_service(web::to(async || Err::<HttpResponse, _>(RequestError::MethodNotAllowed)))
}

async fn index<R: Report>(operations: Data<Operations<R>>) -> HttpResponse {
    plain(operations.index)
}

/// Whether a restart of the process would mend anything: it does when an actor is stuck. Whether the role can do its work is
/// [`readyz`]'s to say, because a restart would not bring a director back.
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
