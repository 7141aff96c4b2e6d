//! How the parent of Envoy ends.

use std::{io, path::PathBuf};

/// How the parent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to end, and no Envoy is left.
    Told,
    /// Envoy crashed too often.
    GaveUp,
}

/// Envoy cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Signals or the runtime are not available.
    #[error("prepare to keep Envoy")]
    Prepare(#[source] io::Error),
    /// The bootstrap cannot be made.
    #[error("make Envoy's bootstrap")]
    Bootstrap(#[source] io::Error),
    /// Envoy's program cannot be started.
    #[error("start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The kernel does not tell when Envoy ends.
    #[error("wait for the end of Envoy")]
    Wait(#[source] io::Error),
}
