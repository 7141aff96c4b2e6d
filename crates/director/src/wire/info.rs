//! `GET /info`, open to all.

use serde::{Deserialize, Serialize};

/// Who the director is and how it wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Name.
    pub name: String,
    /// Uuid.
    pub uuid: String,
    /// `283.1.4 (00000000)`.
    pub version: String,
    /// Who asks; null without good credentials.
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
    /// What is switched on.
    #[serde(default)]
    pub features: Features,
}

/// What is switched on; a director without a feature leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Names of instances in DNS.
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
    /// Where.
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

/// Something that is switched on or off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Whether.
    pub status: bool,
    /// More, by feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<serde_json::Value>,
}
