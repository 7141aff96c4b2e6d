//! Reads YAML as Ruby does, and so as a director does. This is the only module that depends on the YAML library.
//!
//! ```text
//!   text --libyaml's grammar--> Tree (aliases are references) --Psych's rules, only on access--> values
//! ```
//!
//! The grammar is libyaml's, through a port of it, because Psych is based on libyaml. Psych's interpretation of the
//! events is implemented here: scalars by its scanner, merge keys where its hashes merge, the last of duplicate keys,
//! anchors and tags. An alias is a reference to its node, so the cost of a text is proportional to its length, not to
//! the expansion of its aliases. Each access to a value is paid from a budget. Parts that are not accessed are checked
//! by the grammar alone.
//!
//! Not promised: objects of Ruby's classes (`!ruby/object`), which a director rejects; they are only recognised as
//! objects.

mod compose;
mod de;
mod scalar;
mod view;

use std::cell::Cell;

use serde::de::DeserializeOwned;

pub use self::{
    scalar::Scalar,
    view::{List, Map, Pair, Pairs, Shape, Step, View},
};
use compose::Tree;

/// Maximum number of nodes turned into values of a type, which take more memory than nodes.
const MAX_VALUES: usize = 500_000;

/// Limits on the cost of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of the text in bytes.
    pub bytes: usize,
    /// Nodes (lists, maps, scalars): the written ones, and again those accessed, counted as often as an alias repeats
    /// them.
    pub nodes: usize,
    /// Bytes of all scalars written, and again of those accessed.
    pub scalar_bytes: usize,
    /// Nesting. Ruby's own stack overflows between one and two thousand levels.
    pub depth: usize,
}

impl Default for Limits {
    /// Many times the largest known manifests. Reading a text at the limits takes about a second and 150 megabytes.
    fn default() -> Self {
        Self { bytes: 8 << 20, nodes: 2_000_000, scalar_bytes: 16 << 20, depth: 2_000 }
    }
}

/// Why a text was rejected. It never contains the text itself, because manifests may contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// Rejected before it was parsed.
    #[error("the YAML text has {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Size of the text, in octets.
        bytes: usize,
        /// The limit, [`Limits::bytes`].
        limit: usize,
    },
    /// Not YAML, not of the expected shape, or beyond [`Limits`].
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

/// A parsed text: its first document, as Ruby reads it.
#[derive(Debug)]
pub struct Document {
    tree: Tree,
    nodes_left: Cell<usize>,
    bytes_left: Cell<usize>,
    exhausted: Cell<bool>,
}

impl Document {
    /// Parses a text. No value is accessed yet.
    ///
    /// # Errors
    /// When the text is too large, is not YAML, or exceeds the limits.
    pub fn read(text: &str, limits: &Limits) -> Result<Self, YamlError> {
        if text.len() > limits.bytes {
            return Err(YamlError::TooLarge { bytes: text.len(), limit: limits.bytes });
        }
        Ok(Self {
            tree: compose::compose(text, limits)?,
            nodes_left: Cell::new(limits.nodes),
            bytes_left: Cell::new(limits.scalar_bytes),
            exhausted: Cell::new(false),
        })
    }

    /// The document's root node; `None` when the text has none.
    pub fn root(&self) -> Option<View<'_>> {
        self.tree.root.map(|index| View::new(self, index))
    }

    /// Checks that the budget has sufficed for all accesses. Call it after them: beyond the budget, lists and maps end
    /// early.
    ///
    /// # Errors
    /// When the accesses exceeded the limits.
    pub fn finish(&self) -> Result<(), YamlError> {
        if self.exhausted.get() {
            return Err(refused(1, 1, "expands to more nodes or bytes than are read"));
        }
        Ok(())
    }

    fn spend(&self, nodes: usize, bytes: usize) -> bool {
        match (self.nodes_left.get().checked_sub(nodes), self.bytes_left.get().checked_sub(bytes)) {
            (Some(nodes), Some(bytes)) => {
                self.nodes_left.set(nodes);
                self.bytes_left.set(bytes);
            }
            _ => self.exhausted.set(true),
        }
        !self.exhausted.get()
    }
}

/// Parses one document into a type.
///
/// # Errors
/// When the text is too large, is not YAML, exceeds the limits, or does not have the shape of `T`.
pub fn from_text<T: DeserializeOwned>(text: &str, limits: &Limits) -> Result<T, YamlError> {
    let document = Document::read(text, limits)?;
    document.nodes_left.set(limits.nodes.min(MAX_VALUES));
    let value = match document.root() {
        Some(root) => T::deserialize(root),
        None => T::deserialize(serde::de::value::UnitDeserializer::new()),
    };
    // An exhausted budget is the cause of any shape that was missing after it.
    document.finish()?;
    value
}

fn refused(line: u32, column: u32, reason: impl Into<String>) -> YamlError {
    YamlError::Refused { line: line.into(), column: column.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
