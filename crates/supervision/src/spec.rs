//! The specifications that a supervisor works by: its own, and that of each child.

use std::{cell::Cell, time::Duration};

use crate::{
    board::Board,
    life::Seat,
    orders::Present,
    policy::{Intensity, Shutdown, Strategy},
    roster::Terms,
};

/// The specification of a supervisor: its children in order of declaration, and the rules for their exits.
pub(crate) struct SupervisorSpec {
    pub(crate) name: String,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) children: Vec<Child>,
}

impl SupervisorSpec {
    /// Ends all children for good.
    pub(crate) fn close(&self) {
        for child in self.children.iter().rev() {
            child.close();
        }
    }
}

/// Any kind of child.
pub(crate) trait Body {
    /// Starts a new life. All errors are reported through the seat.
    fn begin(&self, seat: Seat, board: &Board);
    /// Called when no further life will be started.
    fn close(&self);
}

pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) terms: Terms,
    pub(crate) shutdown: Shutdown,
    /// How long it may show no sign of life; `None` for a tree, whose children have their own bounds.
    pub(crate) silence: Option<Duration>,
    pub(crate) body: Box<dyn Body>,
    /// Number of lives so far. Like `ended`, it outlives a fall of the tree.
    pub(crate) generation: Cell<u64>,
    pub(crate) ended: Cell<bool>,
    pub(crate) present: Present,
}

impl Child {
    /// Ends the child for good.
    pub(crate) fn close(&self) {
        if !self.ended.replace(true) {
            self.body.close();
        }
    }
}
