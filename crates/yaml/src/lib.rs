//! YAML as Ruby reads it, which is how a director reads it: the one place that knows the YAML library.
//!
//! ```text
//!   text --libyaml's grammar--> Tree (aliases are references) --Psych's rules, only where somebody looks--> values
//! ```
//!
//! The grammar is libyaml's, by a port of it, because Psych stands on libyaml. What Psych makes of the events is done here: scalars by its
//! scanner, merge keys where its hashes merge, the last of duplicate keys, anchors and tags. An alias is a reference to its node, so that a text
//! costs what it is long and not what its aliases expand to; who looks at values pays for each from a budget. What nobody looks at is checked
//! by its grammar alone.
//!
//! Not promised: objects of Ruby's classes (`!ruby/object`), which a director refuses; they are known as objects and nothing more.

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

/// Nodes that are made values of a type, which take more room than nodes do.
const MAX_VALUES: usize = 500_000;

/// What one text may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Nodes (lists, maps, scalars): those written, and again those looked at, each as often as an alias repeats it.
    pub nodes: usize,
    /// Bytes of all scalars written, and again of those looked at.
    pub scalar_bytes: usize,
    /// Nesting. Ruby's own stack ends between one and two thousand levels.
    pub depth: usize,
}

impl Default for Limits {
    /// Many times the largest manifests known. A text at the limits takes about a second and 150 megabytes while it is read.
    fn default() -> Self {
        Self { bytes: 8 << 20, nodes: 2_000_000, scalar_bytes: 16 << 20, depth: 2_000 }
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
        /// From 1; 0 when it is not known.
        line: u64,
        /// From 1; 0 when it is not known.
        column: u64,
        /// What is wrong there.
        reason: String,
    },
}

/// A text that has been read: its first document, as Ruby takes it.
#[derive(Debug)]
pub struct Document {
    tree: Tree,
    nodes_left: Cell<usize>,
    bytes_left: Cell<usize>,
    exhausted: Cell<bool>,
}

impl Document {
    /// Reads a text. Nothing is looked at yet.
    ///
    /// # Errors
    /// When the text is too large, is no YAML or goes beyond the limits.
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

    /// The document's node; `None` when the text has none.
    pub fn root(&self) -> Option<View<'_>> {
        self.tree.root.map(|index| View::new(self, index))
    }

    /// Whether all that was looked at was there to see. Ask after looking: beyond the budget, lists and maps end early.
    ///
    /// # Errors
    /// When more was looked at than the limits allow.
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

/// Reads one document into a type.
///
/// # Errors
/// When the text is too large, is no YAML, goes beyond the limits or does not have the shape of `T`.
pub fn from_text<T: DeserializeOwned>(text: &str, limits: &Limits) -> Result<T, YamlError> {
    let document = Document::read(text, limits)?;
    document.nodes_left.set(limits.nodes.min(MAX_VALUES));
    let value = match document.root() {
        Some(root) => T::deserialize(root),
        None => T::deserialize(serde::de::value::UnitDeserializer::new()),
    };
    // That a budget ended is the cause of whatever shape was then missed.
    document.finish()?;
    value
}

fn refused(line: u32, column: u32, reason: impl Into<String>) -> YamlError {
    YamlError::Refused { line: line.into(), column: column.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
