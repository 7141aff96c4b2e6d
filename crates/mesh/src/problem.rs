//! Problems, and where an operator finds them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a manifest or a config, as precise as known. It is shown as `deployment "d", instance group "g", job "j",
/// expose_ports[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Deployment name as the director gives it; empty in a config.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub deployment: String,
    /// The config that contains the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigName>,
    /// Instance group name as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Addon name as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addon: Option<String>,
    /// Job name as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Key below the job, or below the manifest when there is no job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where in the text it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// A position in a text; both numbers count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// Name of a director's config.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConfigName {
    /// `runtime`, `cloud` or `boshy` ([`CONFIG_TYPE`](crate::CONFIG_TYPE)).
    #[serde(rename = "type")]
    pub kind: String,
    /// Name within the type.
    pub name: String,
}

impl Place {
    /// The deployment as a whole.
    pub fn deployment(name: impl Into<String>) -> Self {
        Self { deployment: name.into(), ..Self::default() }
    }

    /// A config as a whole, by type and name.
    pub fn config(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { config: Some(ConfigName { kind: kind.into(), name: name.into() }), ..Self::default() }
    }

    /// This place, narrowed to an instance group.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// This place, narrowed to an addon.
    #[must_use]
    pub fn addon(mut self, name: impl Into<String>) -> Self {
        self.addon = Some(name.into());
        self
    }

    /// This place, narrowed to a job.
    #[must_use]
    pub fn job(mut self, name: impl Into<String>) -> Self {
        self.job = Some(name.into());
        self
    }

    /// This place, narrowed to a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// This place, narrowed to a position in the text.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.config {
            Some(ConfigName { kind, name }) => write!(f, "{kind} config {name:?}")?,
            None => write!(f, "deployment {:?}", self.deployment)?,
        }
        if let Some(group) = &self.group {
            write!(f, ", instance group {group:?}")?;
        }
        if let Some(addon) = &self.addon {
            write!(f, ", addon {addon:?}")?;
        }
        if let Some(job) = &self.job {
            write!(f, ", job {job:?}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", {key}")?;
        }
        if let Some(Position { line, column }) = self.position {
            write!(f, ", line {line}, column {column}")?;
        }
        Ok(())
    }
}

/// Something that an operator should correct. Only the entry at its place is affected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Problem {
    /// Place of the problem.
    pub place: Place,
    /// What is wrong, and what is expected instead.
    pub reason: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(place: Place, reason: impl Into<String>) -> Self {
        Self { place, reason: reason.into() }
    }
}
