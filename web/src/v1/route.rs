//! Maps a request to a question, without I/O. The server's own router is not used: it splits a path before unescaping
//! it, and the v1 API after.

use super::url::{clean, decode, encode, reserialised, with_query};
use crate::error::RequestError;
use actix_web::http::{Method, Uri};

/// What a request asks for. Node ids are as received, not checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    Registration,
    Endpoints { key: String },
    Listeners { node: String },
    Clusters { node: String },
    Routes { name: String, node: String },
    AvailabilityZone { node: String },
    CacheStatistics,
    ResetCacheStatistics,
}

/// Outcome for a valid request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Routed {
    /// A question, and the URL under which its answer is cached.
    Ask { question: Question, url: String },
    /// A redirect to the clean form of an unclean path.
    Moved { location: String },
}

/// Decides what a request asks for.
///
/// # Errors
/// As in the framework of the v1 API: 400, 404, 405 and 406, checked in this order.
pub(super) fn route(method: &Method, uri: &Uri, accept: Option<&str>) -> Result<Routed, RequestError> {
    let path = decode(uri.path()).ok_or(RequestError::MalformedPath)?;
    let cleaned = clean(&path);
    if cleaned != path {
        return Ok(Routed::Moved { location: with_query(encode(&cleaned), uri.query()) });
    }
    let question = Question::of_path(&path).ok_or(RequestError::PageNotFound)?;
    if *method != question.method() {
        return Err(RequestError::MethodNotAllowed);
    }
    if !accept.is_none_or(accepts_json) {
        return Err(RequestError::NotAcceptable);
    }
    Ok(Routed::Ask { question, url: reserialised(uri.path(), &path, uri.query()) })
}

/// Quality values are ignored and `application/*` does not match, as in the original API.
fn accepts_json(accept: &str) -> bool {
    let mut kinds = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim_matches(' '));
    accept.is_empty() || kinds.any(|kind| kind == "*/*" || kind == "application/json")
}

impl Question {
    /// Ignores a trailing slash; the service cluster (`_`) may be any text.
    fn of_path(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        Some(match segments[..] {
            ["v1", "registration"] => Self::Registration,
            ["v1", "registration", key] => Self::Endpoints { key: key.into() },
            ["v1", "listeners", _, node] => Self::Listeners { node: node.into() },
            ["v1", "clusters", _, node] => Self::Clusters { node: node.into() },
            ["v1", "routes", name, _, node] => Self::Routes { name: name.into(), node: node.into() },
            ["v1", "az", _, node] => Self::AvailabilityZone { node: node.into() },
            ["cache_stats"] => Self::CacheStatistics,
            ["cache_stats_delete"] => Self::ResetCacheStatistics,
            _ => return None,
        })
    }

    fn method(&self) -> Method {
        match self {
            Self::ResetCacheStatistics => Method::POST,
            _ => Method::GET,
        }
    }
}
