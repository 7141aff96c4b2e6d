//! Errors of the lab; each names the operation.

use std::io;

use boshy_lab_dns::DnsError;
use err_report::Report;

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The command line is not valid; exit status 64.
    #[error("{0}")]
    Usage(String),
    /// The lab's present state does not allow the request.
    #[error("{0}")]
    Refused(String),
    /// The operating system refused an operation.
    #[error("{operation}")]
    Io {
        /// The operation.
        operation: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The director refused a request.
    #[error("{operation}")]
    Director {
        /// The operation.
        operation: String,
        /// The director's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A manifest could not be read.
    #[error("{operation}")]
    Manifest {
        /// The operation.
        operation: String,
        /// Position and cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LabError {
    /// The exit status of a process that ends with this error: 64 (`EX_USAGE` of sysexits.h) or 1.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Refused(_) | Self::Io { .. } | Self::Director { .. } | Self::Manifest { .. } => 1,
        }
    }

    /// The error and its causes in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        Report::new(self).to_string()
    }
}

impl From<DnsError> for LabError {
    fn from(error: DnsError) -> Self {
        Self::Io { operation: error.operation, source: error.source }
    }
}

/// Adds the name of the operation to an error.
pub(crate) trait Doing<T> {
    /// Adds the operation's name. The text is built only on failure.
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Io { operation: operation(), source: source.into() })
    }
}
