//! A parsed text, and the budget from which each access to it is paid.

use std::cell::Cell;

use crate::{
    Limits, YamlError,
    compose::{Tree, compose},
    error::refused,
};

/// A parsed text: its first document, as Ruby reads it.
#[derive(Debug)]
pub struct Document {
    pub(crate) tree: Tree,
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
            tree: compose(text, limits)?,
            nodes_left: Cell::new(limits.nodes),
            bytes_left: Cell::new(limits.scalar_bytes),
            exhausted: Cell::new(false),
        })
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

    pub(crate) fn spend(&self, nodes: usize, bytes: usize) -> bool {
        match (self.nodes_left.get().checked_sub(nodes), self.bytes_left.get().checked_sub(bytes)) {
            (Some(nodes), Some(bytes)) => {
                self.nodes_left.set(nodes);
                self.bytes_left.set(bytes);
            }
            _ => self.exhausted.set(true),
        }
        !self.exhausted.get()
    }

    /// Allows at most so many nodes from here on.
    pub(crate) fn limit_nodes(&self, nodes: usize) {
        self.nodes_left.set(self.nodes_left.get().min(nodes));
    }
}
