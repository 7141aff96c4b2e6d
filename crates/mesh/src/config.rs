//! Configs of the director that are written for the mesh.

use serde::{Deserialize, Serialize};

use crate::Place;

/// The type under which a director keeps them: `bosh update-config --type boshy --name NAME FILE`. A director accepts
/// any type, and keeps the text of a type that it does not know as it was sent.
pub const CONFIG_TYPE: &str = "boshy";

/// The latest version of such a config, as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WrittenConfig {
    /// Its name within the type.
    pub name: String,
    /// Its text: YAML with a map at its root, as the director has checked.
    pub content: String,
}

impl WrittenConfig {
    /// The config as the place of a problem. A rule in it narrows the place by [`Place::key`].
    pub fn place(&self) -> Place {
        Place::config(CONFIG_TYPE, &self.name)
    }
}
