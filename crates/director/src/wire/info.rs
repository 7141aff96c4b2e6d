//! `GET /info`, which requires no login.

use serde::{Deserialize, Serialize};

/// Identity of the director, and its authentication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Name.
    pub name: String,
    /// Uuid.
    pub uuid: String,
    /// `283.1.4 (00000000)`.
    pub version: String,
    /// The authenticated user; null without valid credentials.
    pub user: Option<String>,
    /// `warden_cpi`, ...
    #[serde(default)]
    pub cpi: String,
    /// Stemcell the director runs on.
    #[serde(default)]
    pub stemcell_os: String,
    /// Its version.
    #[serde(default)]
    pub stemcell_version: String,
    /// How to log in.
    pub user_authentication: UserAuthentication,
    /// Enabled features.
    #[serde(default)]
    pub features: Features,
}

/// Enabled features; a director without a feature omits it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// DNS names of instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_dns: Option<Feature>,
    /// Snapshots of disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Feature>,
    /// A server that resolves `((variables))`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_server: Option<Feature>,
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserAuthentication {
    /// `basic` or `uaa`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where to log in.
    #[serde(default)]
    pub options: AuthOptions,
}

/// Where to log in. Empty for `basic`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthOptions {
    /// URL of the UAA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// All of its URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
}

/// A feature that is on or off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Whether it is on.
    pub status: bool,
    /// Further data, by feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<serde_json::Value>,
}
