//! Describes a request in go-httpbin's format.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest,
    http::header::{CONTENT_TYPE, HeaderMap},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::Value;

/// Names with all their values, like Go's `http.Header` and `url.Values`.
pub(super) type Values = BTreeMap<String, Vec<String>>;

/// Answer to a request without a body.
#[derive(Serialize)]
pub(super) struct Seen {
    pub(super) args: Values,
    pub(super) headers: Values,
    pub(super) instance: String,
    pub(super) method: String,
    pub(super) origin: String,
    pub(super) url: String,
}

/// Answer to a request that may have a body.
#[derive(Serialize)]
pub(super) struct SeenWithBody {
    #[serde(flatten)]
    pub(super) seen: Seen,
    #[serde(flatten)]
    pub(super) body: Body,
}

/// A body: as text or data URL, and parsed when its type allows it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Body {
    pub(super) data: String,
    /// Always empty: multipart bodies are not parsed.
    pub(super) files: Values,
    pub(super) form: Values,
    pub(super) json: Value,
}

impl Seen {
    pub(super) fn new(instance: &str, request: &HttpRequest) -> Self {
        let connection = request.connection_info();
        Self {
            args: pairs(request.query_string()),
            headers: headers(request.headers()),
            instance: instance.to_owned(),
            method: request.method().to_string(),
            origin: origin(request),
            url: format!("{}://{}{}", connection.scheme(), connection.host(), request.uri()),
        }
    }
}

/// The client's address, without its port.
pub(super) fn origin(request: &HttpRequest) -> String {
    request.connection_info().realip_remote_addr().unwrap_or_default().to_owned()
}

/// Headers, with their names as Go writes them (`Content-Type`), whatever their case on the wire.
pub(super) fn headers(headers: &HeaderMap) -> Values {
    let mut values = Values::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        values.entry(canonical(name.as_str())).or_default().push(value);
    }
    values
}

fn canonical(name: &str) -> String {
    let mut upper = true;
    let letter = |letter: char| {
        let shown = if upper { letter.to_ascii_uppercase() } else { letter };
        upper = letter == '-';
        shown
    };
    name.chars().map(letter).collect()
}

/// Parses `application/x-www-form-urlencoded`, which is also the format of a query.
fn pairs(text: &str) -> Values {
    let mut values = Values::new();
    let parsed: Vec<(String, String)> =
        actix_web::web::Query::from_query(text).map(actix_web::web::Query::into_inner).unwrap_or_default();
    for (name, value) in parsed {
        values.entry(name).or_default().push(value);
    }
    values
}

impl Body {
    /// Parses a body.
    ///
    /// # Errors
    /// Why a body that is declared as JSON is not JSON.
    pub(super) fn new(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, String> {
        let mut body = Self::default();
        if bytes.is_empty() {
            return Ok(body);
        }
        let written = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = written.split(';').next().unwrap_or_default().trim();
        body.data = String::from_utf8_lossy(bytes).into_owned();
        match kind {
            "text/plain" | "text/html" => {}
            "application/json" => body.json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?,
            "application/x-www-form-urlencoded" => body.form = pairs(&body.data),
            _ => {
                let kind = if kind.is_empty() { "application/octet-stream" } else { kind };
                body.data = format!("data:{kind};base64,{}", STANDARD.encode(bytes));
            }
        }
        Ok(body)
    }
}
