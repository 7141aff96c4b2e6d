//! YAML as BOSH writes it: the one place that knows the YAML library.
//!
//! Manifests are Ruby's YAML 1.1: merge keys (also chained), anchors, `yes` as a boolean, `010` as eight. They arrive from whoever
//! may deploy, so that size, depth and what aliases expand to are bounded before anything is kept. Duplicate keys are
//! resolved as the director resolves them: the last one counts.
//!
//! Not promised: an unquoted `y` or `n` is read as a boolean here and as text by the director; quote it.

use serde::de::DeserializeOwned;
use serde_saphyr::{DuplicateKeyPolicy, MessageFormatter, Options};

/// What one text may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Nodes (lists, maps, scalars), each counted once per alias that repeats it.
    pub nodes: usize,
    /// Bytes of all scalars, each counted once per alias that repeats it.
    pub scalar_bytes: usize,
    /// Nesting.
    pub depth: usize,
}

impl Default for Limits {
    /// Twenty times the largest manifests known, and few enough that one text costs at most some tens of megabytes.
    fn default() -> Self {
        Self { bytes: 8 << 20, nodes: 250_000, scalar_bytes: 16 << 20, depth: 64 }
    }
}

/// Why a text was refused. Never holds the text itself: manifests may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// Refused before it was read.
    #[error("the YAML text has {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`Limits::bytes`].
        limit: usize,
    },
    /// Not YAML, not of the wanted shape, or beyond [`Limits`].
    #[error("YAML line {line}, column {column}: {reason}")]
    Refused {
        /// From 1; 0 when the library does not know.
        line: u64,
        /// From 1; 0 when the library does not know.
        column: u64,
        /// What is wrong there.
        reason: String,
    },
}

/// Reads one document.
///
/// # Errors
/// When the text is too large, is no YAML, goes beyond the limits or does not have the shape of `T`.
pub fn from_text<T: DeserializeOwned>(text: &str, limits: &Limits) -> Result<T, YamlError> {
    if text.len() > limits.bytes {
        return Err(YamlError::TooLarge { bytes: text.len(), limit: limits.bytes });
    }
    serde_saphyr::from_str_with_options(text, options(limits)).map_err(|error| refused(&error))
}

fn options(limits: &Limits) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: limits.nodes * 4,
            max_nodes: limits.nodes,
            max_total_scalar_bytes: limits.scalar_bytes,
            max_recorded_anchor_bytes: limits.scalar_bytes,
            max_depth: limits.depth,
            max_documents: 2,
            // Ordinary manifests repeat a few anchors a thousand times; what they expand to is bounded instead.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits.nodes * 2,
            max_replay_stack_depth: limits.depth,
        },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
    }
}

fn refused(error: &serde_saphyr::Error) -> YamlError {
    let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    let reason = serde_saphyr::DefaultMessageFormatter.format_message(error.without_snippet()).into_owned();
    YamlError::Refused { line, column, reason }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
