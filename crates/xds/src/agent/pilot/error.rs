//! Errors of streams to a pilot, and their remedies.

use std::net::SocketAddr;

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
    /// The pilot has an older table of leases than this VM.
    #[error("the pilot {pilot} at {address} has version {table} of the leases, and this VM has version {known}")]
    Behind {
        /// The pilot.
        pilot: Uri,
        /// Its address.
        address: SocketAddr,
        /// Version of its table; 0 when it has published none.
        table: u64,
        /// Version by which this VM has its names.
        known: u64,
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
    /// The pilot takes no report.
    #[error("reporting to the pilot {pilot}")]
    Report {
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
            Self::Behind { .. } => "Wait: the agent takes another pilot, or this one once it has caught up; `lacking` of the pilot \
                 says what keeps it. If the table of the pilots is lost for good, remove `relay` from the agent's state \
                 directory while the agent is stopped."
                .to_owned(),
            Self::Certificate { source, .. } if source.code() == Code::Unimplemented => {
                "Give the pilot a certificate authority (`identity`), or turn identities off on this VM.".to_owned()
            }
            Self::Certificate { .. } => {
                "The pilot says why; its log and `identity` of its status name this VM's address with the reason."
                    .to_owned()
            }
            Self::Report { source, .. } if source.code() == Code::Unimplemented => {
                "Update the pilot: it is older than this agent.".to_owned()
            }
            Self::Report { source, .. } if source.code() == Code::PermissionDenied => {
                "Let the pilot see the addresses of the VMs, without a proxy or a translation of addresses before its port; of a new VM it knows after its next read of the director."
                    .to_owned()
            }
            Self::Report { .. } | Self::Receive { .. } | Self::Closed { .. } => {
                "Wait: the agent tries the next pilot by itself. If it goes on, look at the pilot's log.".to_owned()
            }
        }
    }
}
