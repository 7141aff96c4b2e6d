//! Why a release, or a job of it, was refused.

use std::{io, path::PathBuf};

/// Refused. Texts and numbers are a director's where it has the same error.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Wrong content.
    #[error("{text}")]
    Refused {
        /// A director's number.
        code: u32,
        /// A director's text.
        text: String,
    },
    /// More than is read.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Which part.
        what: String,
        /// Bytes read of it.
        limit: u64,
    },
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
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

    /// The number under which a director reports it; 100 where it has none.
    pub fn code(&self) -> u32 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::TooLarge { .. } | Self::File { .. } => 100,
        }
    }
}
