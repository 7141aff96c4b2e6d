//! Errors of streams to a pilot, and their remedies.

use tonic::{
    Code, Status,
    transport::{self, Uri},
};

use super::connect::ConnectError;

/// Why a stream ended or could not be opened, or why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The pilot is not reachable.
    #[error("connecting to the pilot {pilot}")]
    Connect {
        /// The pilot.
        pilot: Uri,
        /// Cause.
        #[source]
        source: ConnectError,
    },
    /// The pilot is reachable but does not speak HTTP/2.
    #[error("beginning HTTP/2 with the pilot {pilot}")]
    Begin {
        /// The pilot.
        pilot: Uri,
        /// Cause.
        #[source]
        source: transport::Error,
    },
    /// The pilot does not open a stream.
    #[error("opening a stream to the pilot {pilot}")]
    Open {
        /// The pilot.
        pilot: Uri,
        /// The pilot's status.
        #[source]
        source: Box<Status>,
    },
    /// The pilot gives no certificate.
    #[error("asking the pilot {pilot} for a certificate")]
    Certificate {
        /// The pilot.
        pilot: Uri,
        /// The pilot's status.
        #[source]
        source: Box<Status>,
    },
    /// The stream failed.
    #[error("receiving from the pilot {pilot}")]
    Receive {
        /// The pilot.
        pilot: Uri,
        /// Status from the pilot or the transport.
        #[source]
        source: Box<Status>,
    },
    /// The pilot ended the stream.
    #[error("the pilot {pilot} ended the stream")]
    Closed {
        /// The pilot.
        pilot: Uri,
    },
}

/// What a pilot's answer to a request for a certificate means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pilot has no authority, or is older than authorities.
    NoAuthority,
    /// The pilot gives this VM no certificate.
    Refused,
}

impl ExchangeError {
    /// Whether a pilot has refused a certificate. `None` when it could not be asked, or may answer later.
    pub fn refusal(&self) -> Option<Refusal> {
        let Self::Certificate { source, .. } = self else { return None };
        match source.code() {
            Code::Unimplemented => Some(Refusal::NoAuthority),
            Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument | Code::FailedPrecondition => {
                Some(Refusal::Refused)
            }
            _ => None,
        }
    }

    /// What an operator can do about it, in full sentences.
    pub fn remedy(&self) -> String {
        match self {
            Self::Connect { source, .. } => source.remedy(),
            Self::Begin { pilot, .. } | Self::Open { pilot, .. } if pilot.scheme_str() == Some("http") => {
                format!(
                    "If the pilot has a certificate (`xds.tls`), write https:// in `pilots` and set `pilot_tls`; else see whether a pilot listens at {pilot}."
                )
            }
            Self::Begin { pilot, .. } | Self::Open { pilot, .. } => format!("See whether a pilot listens at {pilot}."),
            Self::Certificate { source, .. } if source.code() == Code::Unimplemented => {
                "Give the pilot a certificate authority (`identity`), or turn identities off on this VM.".to_owned()
            }
            Self::Certificate { .. } => {
                "The pilot says why; its log and `identity` of its status name this VM's address with the reason."
                    .to_owned()
            }
            Self::Receive { .. } | Self::Closed { .. } => {
                "Wait: the agent tries the next pilot by itself. If it goes on, look at the pilot's log.".to_owned()
            }
        }
    }
}
