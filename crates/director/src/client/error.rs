//! What can go wrong while a director is asked: which question, and why there is no answer.

use std::{fmt, io, path::PathBuf};

use actix_http::error::ParseError;
use awc::error::{ConnectError, PayloadError, SendRequestError};

use super::TaskId;
use crate::wire::ErrorBody;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `GET /info`.
    Info,
    /// A token of the UAA.
    Token,
    /// `GET /deployments`.
    Deployments,
    /// `GET /deployments/:name`.
    Manifest(String),
    /// `GET /deployments/:name/instances`.
    Instances(String),
    /// `GET /events`.
    Events,
    /// `GET /locks`, which only who may read every deployment may ask.
    Rights,
    /// `GET /tasks`.
    Tasks,
    /// `GET /configs` of a type.
    Configs(&'static str),
    /// `GET /configs/:id`.
    Config(u64),
    /// `GET /deployment_configs`.
    DeploymentConfigs(String),
    /// `GET /releases`.
    Releases,
    /// `GET /tasks/:id` and its output.
    Task(TaskId),
    /// `POST /releases` with a file.
    UploadRelease(PathBuf),
    /// `POST /deployments`.
    Deploy,
    /// `DELETE /deployments/:name`.
    DeleteDeployment(String),
    /// `POST /configs`.
    UpdateConfig {
        /// Type.
        kind: String,
        /// Name within the type.
        name: String,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info => f.write_str("cannot read what the director is"),
            Self::Token => f.write_str("cannot get a token from the UAA"),
            Self::Deployments => f.write_str("cannot list the deployments"),
            Self::Manifest(name) => write!(f, "cannot read the manifest of deployment {name:?}"),
            Self::Instances(name) => write!(f, "cannot read the instances of deployment {name:?}"),
            Self::Events => f.write_str("cannot read the events"),
            Self::Rights => f.write_str(
                "cannot see whether the director's client may read every deployment, for which it needs the scope bosh.read",
            ),
            Self::Tasks => f.write_str("cannot list the tasks that have ended"),
            Self::Configs(kind) => write!(f, "cannot read the {kind} configs"),
            Self::Config(id) => write!(f, "cannot read version {id} of a config"),
            Self::DeploymentConfigs(name) => write!(f, "cannot see with which configs {name:?} was deployed"),
            Self::Releases => f.write_str("cannot list the releases"),
            Self::Task(id) => write!(f, "cannot read task {id}"),
            Self::UploadRelease(file) => write!(f, "cannot upload the release {}", file.display()),
            Self::Deploy => f.write_str("cannot deploy"),
            Self::DeleteDeployment(name) => write!(f, "cannot delete deployment {name:?}"),
            Self::UpdateConfig { kind, name } => write!(f, "cannot update the {kind} config {name:?}"),
        }
    }
}

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct ClientError {
    /// What was asked for.
    pub operation: Operation,
    /// Why there is no answer.
    #[source]
    pub cause: Cause,
}

impl ClientError {
    /// Whether the director said that there is no such deployment.
    pub fn is_gone(&self) -> bool {
        const DEPLOYMENT_NOT_FOUND: u32 = 70_000;
        matches!(&self.cause, Cause::Status { status: 404, error: Some(error) } if error.code == DEPLOYMENT_NOT_FOUND)
    }

    /// Whether the director refused what only who may read every deployment may ask: what it lists is then not all there is.
    pub fn lacks_right(&self) -> bool {
        self.operation == Operation::Rights
            && matches!(self.cause, Cause::Unauthorized(_) | Cause::Status { status: 403, .. })
    }

    /// Whether the director said that it has not what was asked for, or no such route.
    pub(crate) fn is_not_there(&self) -> bool {
        matches!(self.cause, Cause::Status { status: 404, .. })
    }

    /// Whether nobody answered, so that the next question will fare no better.
    pub fn is_silence(&self) -> bool {
        match &self.cause {
            Cause::Transport(_) => true,
            Cause::Login(error) => error.is_silence(),
            _ => false,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Nobody answered, or the answer broke off. What was to be written may have been.
    #[error("no answer")]
    Transport(#[source] TransportError),
    /// The credentials could not be turned into what the director wants.
    #[error("cannot log in")]
    Login(#[source] Box<ClientError>),
    /// The director asks for a way to log in that is not known here.
    #[error("the director wants the authentication {0:?}; known are `basic` and `uaa`")]
    UnknownAuthentication(String),
    /// 401: wrong credentials, or good ones with too few scopes.
    #[error("not authorized{}", .0.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Unauthorized(Option<String>),
    /// Any other status that is no success.
    #[error("status {status}{}", .error.as_ref().map(|e| format!(": {} (code {})", e.description, e.code)).unwrap_or_default())]
    Status {
        /// HTTP status.
        status: u16,
        /// What the director says, when it says it as JSON.
        error: Option<ErrorBody>,
    },
    /// The body is larger than is read.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// [`ClientSettings::max_body`](super::ClientSettings::max_body).
        limit: usize,
    },
    /// The body is not what the question is answered with.
    #[error("the answer is not what was expected")]
    Malformed(#[source] serde_json::Error),
    /// A number in the body that cannot be what it is said to be.
    #[error("the answer is not what was expected: {0}")]
    Odd(String),
    /// What is asked in two requests was answered to two logins, whose rights may differ.
    #[error("the login changed between two requests that belong together")]
    OtherLogin,
    /// What was to be sent cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] io::Error),
    /// What is to make a task was answered without one.
    #[error("status {0}, and no task")]
    NoTask(u16),
    /// Sent elsewhere too often, or to no usable place.
    #[error("redirected {0}")]
    Redirect(&'static str),
}

/// Nobody answered, or the answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Not in time.
    #[error("timed out after {0:?}")]
    Timeout(std::time::Duration),
    /// No connection, or none with a trusted certificate.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// Anything else, as the HTTP library words it.
    #[error("{0}")]
    Other(String),
}

impl From<SendRequestError> for TransportError {
    fn from(error: SendRequestError) -> Self {
        match error {
            SendRequestError::Connect(ConnectError::Io(error)) => Self::Connect(error),
            // A connection that was there: the other side ended it instead of answering.
            SendRequestError::Connect(ConnectError::Disconnected) => Self::Broken(io::ErrorKind::UnexpectedEof.into()),
            SendRequestError::Connect(ConnectError::Resolver(error)) => {
                Self::Connect(io::Error::other(error.to_string()))
            }
            SendRequestError::Send(error) | SendRequestError::Response(ParseError::Io(error)) => Self::Broken(error),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<PayloadError> for TransportError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => Self::Broken(error),
            other => Self::Other(other.to_string()),
        }
    }
}
