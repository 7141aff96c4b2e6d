//! Requests and answers as values, so that an answer is a function of the director's state.

use percent_encoding::percent_decode_str;
use serde::Serialize;
use url::form_urlencoded;

use super::DirectorError;

/// A request.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path as received.
    pub(super) path: String,
    /// The client's name for the director.
    pub(super) host: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) authorization: Option<String>,
    pub(super) content_type: String,
    /// First requested byte, from `Range: bytes=N-`.
    pub(super) range_from: Option<usize>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// Sets path and query from the request line.
    pub(super) fn with_target(mut self, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.path = path.to_owned();
        self.query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        self
    }

    pub(super) fn segments(&self) -> Vec<String> {
        let segments = self.path.split('/').filter(|segment| !segment.is_empty());
        segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect()
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.param(name) == Some("true")
    }

    /// The body, if its content type is the given one; otherwise the answer is that of an unknown route.
    pub(super) fn body_of(&self, content_type: &str) -> Result<&[u8], Answer> {
        if self.content_type.split(';').next().map(str::trim) == Some(content_type) {
            Ok(&self.body)
        } else {
            Err(Answer::text(404, Kind::Html, format!("Endpoint '{}' not found.", self.path)))
        }
    }
}

/// Content type of an answer. It need not fit the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Html,
    Json,
    Plain,
    Binary,
}

impl Kind {
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Html => "text/html;charset=utf-8",
            Self::Json => "application/json",
            Self::Plain => "text/plain",
            Self::Binary => "application/x-compressed",
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: Kind,
    pub(super) location: Option<String>,
    pub(super) content_range: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(status: u16, kind: Kind, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind, location: None, content_range: None, body: body.into() }
    }

    /// JSON declared as HTML, like most of a director's.
    pub(super) fn html(value: &impl Serialize) -> Self {
        Self::json_as(200, Kind::Html, value)
    }

    /// JSON declared as JSON.
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::json_as(200, Kind::Json, value)
    }

    pub(super) fn json_as(status: u16, kind: Kind, value: &impl Serialize) -> Self {
        let written = serde_json::to_vec(value);
        written.map_or_else(|_| Self::text(500, Kind::Html, ""), |body| Self::text(status, kind, body))
    }

    /// A redirect to a task.
    pub(super) fn task(request: &Request, task: u64) -> Self {
        let location = Some(format!("https://{}/tasks/{task}", request.host));
        Self { location, ..Self::text(302, Kind::Html, "") }
    }
}

impl From<DirectorError> for Answer {
    fn from(error: DirectorError) -> Self {
        let body = boshy_director::wire::ErrorBody { code: error.code, description: error.description };
        Self::json_as(error.status, Kind::Html, &body)
    }
}
