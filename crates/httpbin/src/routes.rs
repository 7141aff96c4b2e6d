//! The paths that the server handles.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, guard,
    http::{StatusCode, header},
    web::{self, Data, Path, ServiceConfig},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;

use super::answer::{Body, Seen, SeenWithBody, headers, origin};

/// Largest request body in bytes.
pub(super) const LARGEST_BODY: usize = 1 << 20;
/// Largest answer of `/bytes` in bytes.
const MOST_BYTES: usize = 100 * 1024;
/// Longest delay of `/delay` in seconds.
const LONGEST_DELAY: f64 = 10.0;

/// Name of the answering instance.
pub(super) struct Instance(pub(super) String);

pub(super) fn mount(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(index))
        .service(web::resource("/get").route(web::route().guard(reading()).to(get)))
        .route("/post", web::post().to(with_body))
        .route("/put", web::put().to(with_body))
        .route("/patch", web::patch().to(with_body))
        .route("/delete", web::delete().to(with_body))
        .route("/anything", web::to(with_body))
        .route("/anything/{rest:.*}", web::to(with_body))
        .route("/headers", web::get().to(show_headers))
        .route("/ip", web::get().to(ip))
        .route("/status/{code}", web::to(status))
        .route("/delay/{seconds}", web::to(delay))
        .route("/bytes/{count}", web::get().to(bytes))
        .default_service(web::to(async || error(StatusCode::NOT_FOUND, "there is nothing at this path")));
}

fn reading() -> impl guard::Guard {
    guard::Any(guard::Get()).or(guard::Head())
}

async fn index(instance: Data<Instance>) -> HttpResponse {
    let paths = "/get /post /put /patch /delete /anything /headers /ip /status/N /delay/N /bytes/N";
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(format!("{}\n{paths}\n", instance.0))
}

async fn get(instance: Data<Instance>, request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().json(Seen::new(&instance.0, &request))
}

async fn with_body(instance: Data<Instance>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    match Body::new(request.headers(), &body) {
        Ok(body) => HttpResponse::Ok().json(SeenWithBody { seen: Seen::new(&instance.0, &request), body }),
        Err(reason) => error(StatusCode::BAD_REQUEST, &format!("error parsing request body: {reason}")),
    }
}

async fn show_headers(instance: Data<Instance>, request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "headers": headers(request.headers()), "instance": instance.0 }))
}

async fn ip(instance: Data<Instance>, request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "instance": instance.0, "origin": origin(&request) }))
}

/// Codes below 200 are informational and cannot be a final answer, so they are refused.
async fn status(code: Path<String>) -> HttpResponse {
    match code.parse().ok().filter(|code| (200..600).contains(code)).map(StatusCode::from_u16) {
        Some(Ok(code)) if code.is_redirection() && code != StatusCode::NOT_MODIFIED => {
            HttpResponse::build(code).insert_header((header::LOCATION, "/get")).finish()
        }
        Some(Ok(code)) => HttpResponse::build(code).finish(),
        _ => error(StatusCode::BAD_REQUEST, "the status has to be between 200 and 599"),
    }
}

async fn delay(
    instance: Data<Instance>,
    seconds: Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let Some(seconds) = seconds.parse().ok().filter(|seconds| (0.0..=LONGEST_DELAY).contains(seconds)) else {
        return error(StatusCode::BAD_REQUEST, "the delay has to be between 0 and 10 seconds");
    };
    actix_web::rt::time::sleep(Duration::from_secs_f64(seconds)).await;
    with_body(instance, request, body).await
}

async fn bytes(count: Path<String>, request: HttpRequest) -> HttpResponse {
    let Some(count) = count.parse().ok().filter(|count| *count <= MOST_BYTES) else {
        return error(StatusCode::BAD_REQUEST, "the number of bytes has to be between 0 and 102400");
    };
    let mut random: SmallRng = match request.query_string().strip_prefix("seed=").map(str::parse) {
        Some(Ok(seed)) => SmallRng::seed_from_u64(seed),
        Some(Err(_)) => return error(StatusCode::BAD_REQUEST, "the seed has to be a number"),
        None => rand::make_rng(),
    };
    let mut bytes = vec![0; count];
    random.fill_bytes(&mut bytes);
    HttpResponse::Ok().content_type("application/octet-stream").body(bytes)
}

/// An error in go-httpbin's format.
fn error(status: StatusCode, detail: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({
        "status_code": status.as_u16(),
        "error": status.canonical_reason().unwrap_or_default(),
        "detail": detail,
    }))
}
