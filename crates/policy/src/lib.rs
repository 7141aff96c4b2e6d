//! Policies as operators write them, and their check.
//!
//! ```text
//!   text --boshy-yaml--> raw documents (shapes, unknown fields) --check--> mesh::Documents (meaning)
//! ```
//!
//! A config of the director has a map at its root. It is one document, or has several under `documents`. The documents
//! have the kinds and fields of Istio's `security.istio.io/v1`, as far as they have a meaning for TCP. Every other field
//! is refused: a policy that is not understood must not seem to be enforced. A config is checked as a whole.

#![forbid(unsafe_code)]

mod check;
mod raw;
mod text;

use boshy_mesh::{Documents, Position, Problem, WrittenConfig};
use boshy_yaml::{Document, Limits, Map, Shape, View, YamlError};

use crate::check::Check;

/// Limits on one config. A director keeps at most 16 MB; a thousand policies take less than one.
const LIMITS: Limits = Limits { bytes: 4 << 20, nodes: 500_000, scalar_bytes: 8 << 20, depth: 100 };

/// Reads a config that is written for the mesh.
///
/// # Errors
/// All that is wrong in it, each with its line and column.
pub fn read(config: &WrittenConfig) -> Result<Documents, Vec<Problem>> {
    let mut check = Check::new(config);
    let document = match Document::read(&config.content, &LIMITS) {
        Ok(document) => document,
        Err(error) => return Err(vec![problem(config, error)]),
    };
    let documents = match root(&document) {
        Ok(documents) => documents,
        Err(error) => return Err(vec![problem(config, error)]),
    };
    for view in documents {
        if let Err(error) = check.document(view) {
            check.problems.push(problem(config, error));
        }
    }
    // An exhausted budget is the cause of anything that was missing after it.
    document.finish().map_err(|error| vec![problem(config, error)])?;
    check.finish()
}

/// The documents of a config: those of the list `documents`, or the root itself.
fn root(document: &Document) -> Result<Vec<View<'_>>, YamlError> {
    let nothing = || YamlError::Refused { line: 1, column: 1, reason: "the config is empty".to_owned() };
    let root = document.root().ok_or_else(nothing)?;
    let Shape::Map(map) = root.shape() else { return Err(root.refused("must be a map")) };
    let Some(list) = map.get("documents") else { return Ok(vec![root]) };
    if let Some(other) = other_key(map) {
        return Err(other.refused("is not known beside `documents`"));
    }
    match list.value.shape() {
        Shape::List(items) => Ok(items.items().collect()),
        _ => Err(list.value.refused("`documents` must be a list")),
    }
}

fn other_key(map: Map<'_>) -> Option<View<'_>> {
    map.pairs().map(|pair| pair.key).find(|key| !key.is_text("documents"))
}

/// An error of the text at its place.
fn problem(config: &WrittenConfig, error: YamlError) -> Problem {
    match error {
        YamlError::TooLarge { .. } => Problem::new(config.place(), error.to_string()),
        YamlError::Refused { line, column, reason } => {
            let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
            let position = Position { line: number(line), column: number(column) };
            Problem::new(config.place().at(position), reason)
        }
    }
}

#[cfg(test)]
mod tests;
