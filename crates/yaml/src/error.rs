//! Why a text is rejected, and where.

/// Why a text was rejected. It never contains the text itself, because manifests may contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// Rejected before it was parsed.
    #[error("the YAML text has {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Size of the text, in octets.
        bytes: usize,
        /// The limit, [`Limits::bytes`](crate::Limits::bytes).
        limit: usize,
    },
    /// Not YAML, not of the expected shape, or beyond [`Limits`](crate::Limits).
    #[error("YAML line {line}, column {column}: {reason}")]
    Refused {
        /// From 1; 0 when unknown.
        line: u64,
        /// From 1; 0 when unknown.
        column: u64,
        /// What is wrong there.
        reason: String,
    },
}

pub(crate) fn refused(line: u32, column: u32, reason: impl Into<String>) -> YamlError {
    YamlError::Refused { line: line.into(), column: column.into(), reason: reason.into() }
}
