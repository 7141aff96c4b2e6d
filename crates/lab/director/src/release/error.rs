//! Why a release, or a job of it, was refused.

use std::{io, path::PathBuf};

/// Why a release is refused. Texts and codes are a director's where it has the same error.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The content is not valid.
    #[error("{text}")]
    Refused {
        /// The director's error code.
        code: u32,
        /// The director's text.
        text: String,
    },
    /// A part exceeds its limit.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Name of the part.
        what: String,
        /// Limit in bytes.
        limit: u64,
    },
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl ReleaseError {
    pub(crate) fn refused(code: u32, text: impl Into<String>) -> Self {
        Self::Refused { code, text: text.into() }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The director's error code; 100 where it has none.
    pub fn code(&self) -> u32 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::TooLarge { .. } | Self::File { .. } => 100,
        }
    }
}
