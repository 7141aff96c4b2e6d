//! What can go wrong, each naming the operation.

use std::io;

use err_report::Report;

/// An error of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The command line asks for something that cannot be meant; exit status 64.
    #[error("{0}")]
    Usage(String),
    /// The lab, as it is now, cannot do what was asked.
    #[error("{0}")]
    Refused(String),
    /// The operating system refused an operation.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The director refused something.
    #[error("{operation}")]
    Director {
        /// What was tried.
        operation: String,
        /// Its answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A manifest could not be read.
    #[error("{operation}")]
    Manifest {
        /// What was tried.
        operation: String,
        /// Where it went wrong.
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

/// Names the operation that an error belongs to.
pub(crate) trait Doing<T> {
    /// Names the operation; the text is only built on failure.
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Io { operation: operation(), source: source.into() })
    }
}
