//! Where an error gets its status and its text, for every endpoint.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header::ContentType},
};
use boshy_mesh::NodeIdError;

use crate::v1::{Api, documents};

/// Why a request got no answer. The texts of the v1 API carry their reason within, because its clients show nothing else.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// Unknown path or wrong number of segments.
    #[error("404: Page Not Found")]
    PageNotFound,
    /// Known path, other method.
    #[error("405: Method Not Allowed")]
    MethodNotAllowed,
    /// `Accept` names nothing that is served.
    #[error("406: Not Acceptable")]
    NotAcceptable,
    /// A `%` without two hexadecimal digits.
    #[error("400 Bad Request")]
    MalformedPath,
    /// The node id is none.
    #[error("{api} unexpected service-node:  {reason}")]
    Node {
        /// What was asked for.
        api: Api,
        /// What is wrong with the id.
        reason: NodeIdError,
    },
    /// There is no document.
    #[error("{api} {reason}")]
    Discovery {
        /// What was asked for.
        api: Api,
        /// Why not.
        reason: documents::Error,
    },
    /// No snapshot has been made yet. Old Envoys keep what they have on a 503 and ask again.
    #[error("{api} the director has not been read yet")]
    NoSnapshot {
        /// What was asked for.
        api: Api,
    },
    /// The role cannot serve yet, or not any more.
    #[error("not ready: {reason}")]
    NotReady {
        /// What is missing.
        reason: String,
    },
    /// A part of the process shows no life.
    #[error("stuck: {reason}")]
    Stuck {
        /// Which.
        reason: String,
    },
    /// A test asked for an actor that does not exist.
    #[error("no actor {name:?}")]
    UnknownActor {
        /// As asked.
        name: String,
    },
}

impl ResponseError for RequestError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::MalformedPath => StatusCode::BAD_REQUEST,
            Self::PageNotFound | Self::Node { .. } | Self::UnknownActor { .. } => StatusCode::NOT_FOUND,
            // This one method of the v1 API answers every failure with 404.
            Self::Discovery { api: Api::AvailabilityZone, .. } | Self::NoSnapshot { api: Api::AvailabilityZone } => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Discovery { .. } | Self::NoSnapshot { .. } | Self::NotReady { .. } | Self::Stuck { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).content_type(ContentType::plaintext()).body(self.to_string())
    }
}
