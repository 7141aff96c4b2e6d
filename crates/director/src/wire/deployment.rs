//! `GET /deployments`, `GET /deployments/:name` and `POST /deployments/:name/diff`.

use serde::{Deserialize, Serialize};

use super::DiffLine;

/// A release or a stemcell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NameVersion {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
}

/// One row of `GET /deployments`. Fields that the request excludes are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRow {
    /// Name.
    pub name: String,
    /// Teams that own it.
    #[serde(default)]
    pub teams: Vec<String>,
    /// `none`, `latest` or `outdated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_config: Option<String>,
    /// Stemcells in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stemcells: Option<Vec<NameVersion>>,
    /// Releases in use, those of runtime configs included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases: Option<Vec<NameVersion>>,
    /// Whether a task is working on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
}

/// `GET /deployments/:name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBody {
    /// Text of the last successful deploy; null before the first.
    pub manifest: Option<String>,
}

/// `POST /deployments/:name/diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestDiff {
    /// To be sent with the deploy.
    pub context: serde_json::Value,
    /// Lines.
    pub diff: Vec<DiffLine>,
}
