//! The resources of a type to which a proxy subscribes.

use std::{collections::BTreeSet, sync::Arc};

use super::Close;

/// The name that stands for all resources.
pub(crate) const WILDCARD: &str = "*";
/// Limit on the memory that the names of one type may take.
const MAX_OCTETS: usize = 8 << 20;
/// Cost of a name in addition to its text.
const PER_NAME: usize = 64;

/// Subscribed names, and whether all others are subscribed to as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) wildcard: bool,
    names: BTreeSet<Arc<str>>,
    octets: usize,
}

impl Subscription {
    pub(crate) fn names(&self) -> &BTreeSet<Arc<str>> {
        &self.names
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Adds a name. Returns false when it was subscribed to already.
    pub(crate) fn add(&mut self, name: Arc<str>) -> Result<bool, Close> {
        let octets = name.len() + PER_NAME;
        if !self.names.insert(name) {
            return Ok(false);
        }
        self.octets += octets;
        if self.octets > MAX_OCTETS { Err(Close::TooManyNames(MAX_OCTETS)) } else { Ok(true) }
    }

    /// Removes a name. Returns false when it was not subscribed to.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let removed = self.names.remove(name);
        if removed {
            self.octets -= name.len() + PER_NAME;
        }
        removed
    }
}
