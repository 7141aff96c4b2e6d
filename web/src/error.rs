//! Maps every error of every endpoint to a status and a text.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header::ContentType},
};
use boshy_mesh::{NodeIdError, QuestionError};

use crate::v1::{api::Api, documents::Error as DocumentError};

/// Why a request is refused. The texts of the v1 API include their reason, because its clients show nothing else.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// Unknown path, or wrong number of segments.
    #[error("404: Page Not Found")]
    PageNotFound,
    /// Known path with an unsupported method.
    #[error("405: Method Not Allowed")]
    MethodNotAllowed,
    /// `Accept` lists no type that is served.
    #[error("406: Not Acceptable")]
    NotAcceptable,
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("400 Bad Request")]
    MalformedPath,
    /// The node id is not valid.
    #[error("{api} unexpected service-node:  {reason}")]
    Node {
        /// The method that was called.
        api: Api,
        /// What is wrong with the id.
        reason: NodeIdError,
    },
    /// The document cannot be made.
    #[error("{api} {reason}")]
    Discovery {
        /// The method that was called.
        api: Api,
        /// Why the document cannot be made.
        reason: DocumentError,
    },
    /// No snapshot has been made yet. On a 503, old Envoys keep their configuration and ask again.
    #[error("{api} the director has not been read yet")]
    NoSnapshot {
        /// The method that was called.
        api: Api,
    },
    /// The role is not ready yet, or no longer ready.
    #[error("not ready: {reason}")]
    NotReady {
        /// What is missing.
        reason: String,
    },
    /// A part of the process has shown no life for its bound.
    #[error("stuck: {reason}")]
    Stuck {
        /// Name of that part.
        reason: String,
    },
    /// A question about a connection lacks `from` or `to`.
    #[error("ask with ?from=CALLER&to=HOST:PORT")]
    NoQuestion,
    /// A question about a connection that there cannot be.
    #[error("{reason}")]
    Question {
        /// Why not.
        reason: QuestionError,
    },
    /// What an operator asks for cannot be done now.
    #[error("{reason}")]
    NotDone {
        /// Why not.
        reason: String,
    },
    /// A test named an actor that does not exist.
    #[error("no actor {name:?}")]
    UnknownActor {
        /// The requested name.
        name: String,
    },
}

impl ResponseError for RequestError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::MalformedPath | Self::NoQuestion | Self::Question { .. } => StatusCode::BAD_REQUEST,
            Self::PageNotFound | Self::Node { .. } | Self::UnknownActor { .. } => StatusCode::NOT_FOUND,
            // This one method of the v1 API answers every failure with 404.
            Self::Discovery { api: Api::AvailabilityZone, .. } | Self::NoSnapshot { api: Api::AvailabilityZone } => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Discovery { .. }
            | Self::NoSnapshot { .. }
            | Self::NotReady { .. }
            | Self::Stuck { .. }
            | Self::NotDone { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).content_type(ContentType::plaintext()).body(self.to_string())
    }
}
