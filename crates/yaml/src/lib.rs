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
mod document;
mod error;
mod limits;
mod scalar;
mod view;

use serde::de::DeserializeOwned;

pub use self::{
    de::Positioned,
    document::Document,
    error::YamlError,
    limits::Limits,
    scalar::Scalar,
    view::{List, Map, Pair, Pairs, Shape, Step, View},
};

/// Maximum number of nodes turned into values of a type, which take more memory than nodes.
const MAX_VALUES: usize = 500_000;

/// Parses one document into a type.
///
/// # Errors
/// When the text is too large, is not YAML, exceeds the limits, or does not have the shape of `T`.
pub fn from_text<T: DeserializeOwned>(text: &str, limits: &Limits) -> Result<T, YamlError> {
    let document = Document::read(text, limits)?;
    document.limit_nodes(MAX_VALUES);
    let value = match document.root() {
        Some(root) => T::deserialize(root),
        None => T::deserialize(serde::de::value::UnitDeserializer::new()),
    };
    // An exhausted budget is the cause of any shape that was missing after it.
    document.finish()?;
    value
}

#[cfg(test)]
mod tests;
