//! Errors of bosh-dns; each names the operation.

use std::io;

/// Why bosh-dns did not start, or ended.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct DnsError {
    /// The operation.
    pub operation: String,
    /// The system's error, or what is wrong with a file.
    #[source]
    pub source: io::Error,
}

/// Adds the name of the operation to an error.
pub(crate) trait Doing<T> {
    /// Adds the operation's name. The text is built only on failure.
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, DnsError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, operation: impl FnOnce() -> String) -> Result<T, DnsError> {
        self.map_err(|source| DnsError { operation: operation(), source: source.into() })
    }
}
