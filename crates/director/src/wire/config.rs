//! `GET`/`POST /configs` and `POST /configs/diff`.

use serde::{Deserialize, Serialize};

/// One version of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Text as sent.
    pub content: String,
    /// Id, as text.
    pub id: String,
    /// `cloud`, `runtime` or any other.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name within the type.
    pub name: String,
    /// Team that owns it.
    pub team: Option<String>,
    /// `2026-11-23 15:14:28 UTC`.
    pub created_at: String,
    /// Whether it is the latest of its type and name.
    pub current: bool,
}

/// One row of `GET /deployment_configs`: a config that a deployment was deployed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentConfig {
    /// Id of the deployment.
    pub id: u64,
    /// Deployment.
    pub deployment: String,
    /// The config.
    pub config: ConfigVersion,
}

/// A version of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigVersion {
    /// Id, which is text elsewhere.
    pub id: u64,
    /// `cloud` or `runtime`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name within the type.
    pub name: String,
}

/// Body of `POST /configs` and `POST /configs/diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigPost {
    /// Type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// YAML with a map at its root.
    pub content: Option<String>,
    /// Compare and set: text or number; `0` means that none may exist.
    pub expected_latest_id: Option<serde_json::Value>,
}

/// Answer 412 of `POST /configs`: another client stored a version first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigConflict {
    /// Id of the latest version.
    pub latest_id: String,
    /// Id that the sender expected.
    pub expected_latest_id: String,
    /// Text for people.
    pub description: String,
}

/// One line of a diff: the text and `added`, `removed` or null.
pub type DiffLine = (String, Option<String>);

/// Id of a config version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigId {
    /// Id, as text.
    pub id: String,
}

/// Answer of `POST /configs/diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDiff {
    /// The latest version; `0` when there is none.
    pub from: ConfigId,
    /// Lines.
    pub diff: Vec<DiffLine>,
}
