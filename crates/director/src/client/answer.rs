//! What an answer says: a value, a redirect, or why there is none.

use http::StatusCode;
use serde::de::DeserializeOwned;
use url::Url;

use super::{Cause, exchange::Answer};
use crate::wire::ErrorBody;

/// Target of a redirect.
pub(super) fn target(from: &Url, answer: &Answer) -> Result<Url, Cause> {
    joined(from, answer.location.as_deref().ok_or(Cause::Redirect("without a place"))?)
}

pub(super) fn joined(base: &Url, place: &str) -> Result<Url, Cause> {
    base.join(place).map_err(|_| Cause::Redirect("to a place that is no URL"))
}

/// The director answers 303 instead of 302 to requests other than `GET`, when no proxy older than HTTP/1.1 is in
/// between.
pub(super) fn is_redirect(answer: &Answer) -> bool {
    matches!(answer.status, StatusCode::FOUND | StatusCode::SEE_OTHER)
}

/// Parses JSON of any content type: most JSON of a director is declared as `text/html`.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Cause> {
    serde_json::from_slice(body).map_err(Cause::Malformed)
}

pub(super) fn body_of<T: DeserializeOwned>(answer: &Answer) -> Result<T, Cause> {
    if answer.status.is_success() { read(&answer.body) } else { Err(failed(answer)) }
}

pub(super) fn failed(answer: &Answer) -> Cause {
    let error: Option<ErrorBody> = serde_json::from_slice(&answer.body).ok();
    match answer.status.as_u16() {
        401 => Cause::Unauthorized(error.map(|error| error.description)),
        status => Cause::Status { status, error },
    }
}
