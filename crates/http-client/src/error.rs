//! Why there is no answer: hyper's chain of errors as one of a few cases.

use std::{error::Error, io};

use http_body_util::LengthLimitError;

/// There is no whole answer to a request.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection could be made, or none with a trusted certificate. The request was not sent.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke. The request may have been received.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The body of the request could not be read, so that a part of it was sent at most.
    #[error("the body of the request cannot be read")]
    Unreadable(#[source] io::Error),
    /// The body of the answer is larger than the limit.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Any other error, in hyper's words: for example an answer that is not HTTP/1.1.
    #[error("{0}")]
    Other(String),
}

/// The error of a request without an answer.
pub(crate) fn unanswered(error: &hyper_util::client::legacy::Error) -> HttpError {
    if error.is_connect() {
        return HttpError::Connect(io_error(error).unwrap_or_else(|| io::Error::other(innermost(error).to_string())));
    }
    broken(error)
}

/// The error of an answer that is not whole.
pub(crate) fn broken_off(error: &(dyn Error + Send + Sync + 'static), limit: usize) -> HttpError {
    if error.is::<LengthLimitError>() { HttpError::TooLarge { limit } } else { broken(error) }
}

pub(crate) fn broken(error: &(dyn Error + 'static)) -> HttpError {
    let of_hyper = chain(error).find_map(|error| error.downcast_ref::<hyper::Error>());
    match (of_hyper, io_error(error)) {
        (Some(error), Some(source)) if error.is_user() => HttpError::Unreadable(source),
        (_, Some(source)) => HttpError::Broken(source),
        // The server closed the connection instead of answering.
        (Some(error), None) if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            HttpError::Broken(io::ErrorKind::UnexpectedEof.into())
        }
        _ => HttpError::Other(innermost(error).to_string()),
    }
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}

fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    chain(error).last().unwrap_or(error)
}

/// The outermost I/O error of a chain, without what it wraps: an error in a chain cannot be taken out of it.
fn io_error(error: &(dyn Error + 'static)) -> Option<io::Error> {
    let error = chain(error).find_map(|error| error.downcast_ref::<io::Error>())?;
    Some(match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    })
}
