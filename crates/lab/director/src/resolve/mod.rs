//! Resolves a manifest and the runtime configs as far as possible without addresses: which jobs run where, with which
//! properties and links.
//!
//! ```text
//!   Inputs ── resolve ──> Resolved ── renderings(addresses) ──> Renderings ── render(ruby) ──> an ApplySpec per instance
//!             refuses      pure                    pure                        takes time, needs no lock
//! ```
//!
//! Texts and codes of errors are the director's.
//!
//! Not promised: links of disks and variables, `migrated_from`, `property_mappings`, and links created by `POST
//! /links`.

mod addons;
mod documents;
mod group;
mod groups;
mod inputs;
mod interpolate;
mod job_errors;
mod link;
mod links;
mod rendering;
mod resolved;
mod rows;
mod written;

pub(crate) use self::{
    inputs::Inputs,
    rendering::{Peer, Surroundings},
    resolved::Resolved,
};
use super::DirectorError;

/// Resolves a deploy.
///
/// # Errors
/// When a director would refuse it. Values of variables generated until then stay.
pub(crate) fn resolve(inputs: Inputs<'_>) -> Result<Resolved, DirectorError> {
    groups::resolve(inputs)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
