//! Errors of requests to a director: the operation and the cause.

use std::{fmt, io};

#[cfg(feature = "operator")]
use super::OperatorAction;
use crate::wire::ErrorBody;

/// Operation of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `GET /info`.
    Info,
    /// Requesting a token from the UAA.
    Token,
    /// `GET /deployments`.
    Deployments,
    /// `GET /deployments/:name`.
    Manifest(String),
    /// `GET /deployments/:name/instances`.
    Instances(String),
    /// `GET /events`.
    Events,
    /// `GET /locks`, which only a client that may read every deployment may request.
    Rights,
    /// `GET /tasks`.
    Tasks,
    /// `GET /configs` of a type.
    Configs(&'static str),
    /// `GET /configs/:id`.
    Config(u64),
    /// `GET /deployment_configs`.
    DeploymentConfigs(String),
    /// `GET /configs` of a type and name, all versions.
    ConfigVersions {
        /// Type.
        kind: String,
        /// Name within the type.
        name: String,
    },
    /// `POST /configs`.
    UpdateConfig {
        /// Type.
        kind: String,
        /// Name within the type.
        name: String,
    },
    /// `GET /link_providers`, `/link_consumers` and `/links` of a deployment.
    Links(String),
    /// What only an operator's client asks for.
    #[cfg(feature = "operator")]
    Operator(OperatorAction),
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
            Self::ConfigVersions { kind, name } => write!(f, "cannot read the versions of the {kind} config {name:?}"),
            Self::UpdateConfig { kind, name } => write!(f, "cannot update the {kind} config {name:?}"),
            Self::Links(name) => write!(f, "cannot read the links of deployment {name:?}"),
            #[cfg(feature = "operator")]
            Self::Operator(action) => action.fmt(f),
        }
    }
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct ClientError {
    /// The operation.
    pub operation: Operation,
    /// The cause.
    #[source]
    pub cause: Cause,
}

impl ClientError {
    /// Whether the director said that the deployment does not exist.
    pub fn is_gone(&self) -> bool {
        const DEPLOYMENT_NOT_FOUND: u32 = 70_000;
        matches!(&self.cause, Cause::Status { status: 404, error: Some(error) } if error.code == DEPLOYMENT_NOT_FOUND)
    }

    /// Whether the director refused a request that only a client with access to every deployment may make: its list is
    /// then incomplete.
    pub fn lacks_right(&self) -> bool {
        self.operation == Operation::Rights
            && matches!(self.cause, Cause::Unauthorized(_) | Cause::Status { status: 403, .. })
    }

    /// Whether the director said that the resource or the route does not exist.
    pub(crate) fn is_not_there(&self) -> bool {
        matches!(self.cause, Cause::Status { status: 404, .. })
    }

    /// Whether there was no answer at all, so that the next request is likely to fail as well.
    pub fn is_silence(&self) -> bool {
        match &self.cause {
            Cause::Transport(_) => true,
            Cause::Login(error) => error.is_silence(),
            _ => false,
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// There was no answer, or it broke off. A write may have taken effect.
    #[error("no answer")]
    Transport(#[source] TransportError),
    /// The credentials could not be exchanged for what the director expects.
    #[error("cannot log in")]
    Login(#[source] Box<ClientError>),
    /// The director asks for an unknown kind of authentication.
    #[error("the director wants the authentication {0:?}; known are `basic` and `uaa`")]
    UnknownAuthentication(String),
    /// 401: the credentials are wrong, or valid with too few scopes.
    #[error("not authorized{}", .0.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Unauthorized(Option<String>),
    /// Any other status that is not a success.
    #[error("status {status}{}", .error.as_ref().map(|e| format!(": {} (code {})", e.description, e.code)).unwrap_or_default())]
    Status {
        /// HTTP status.
        status: u16,
        /// The director's error, if it is JSON.
        error: Option<ErrorBody>,
    },
    /// The body is larger than the limit.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// [`ClientSettings::max_body`](super::ClientSettings::max_body).
        limit: usize,
    },
    /// The body does not have the expected format.
    #[error("the answer is not what was expected")]
    Malformed(#[source] serde_json::Error),
    /// A number in the body is out of its range.
    #[error("the answer is not what was expected: {0}")]
    Odd(String),
    /// Two requests that belong together were answered to two logins, whose permissions may differ.
    #[error("the login changed between two requests that belong together")]
    OtherLogin,
    /// The body of the request cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[source] io::Error),
    /// A request that should create a task was answered without one.
    #[cfg(feature = "operator")]
    #[error("status {0}, and no task")]
    NoTask(u16),
    /// Too many redirects, or one to an unusable location.
    #[error("redirected {0}")]
    Redirect(&'static str),
}

/// There was no answer, or it broke off.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The request timed out.
    #[error("timed out after {0:?}")]
    Timeout(std::time::Duration),
    /// No connection could be made, or none with a trusted certificate.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// Any other error, in the HTTP library's words.
    #[error("{0}")]
    Other(String),
}
