//! Deployment manifests and runtime configs as written: the part that determines which jobs run where. Unknown keys are
//! ignored, as by a director.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{DirectorError, stores::VariableSpec};
use boshy_director::addons::{Filter, or_default};

/// A deployment manifest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Manifest {
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) releases: Vec<Release>,
    #[serde(deserialize_with = "or_default")]
    pub(super) stemcells: Vec<Stemcell>,
    #[serde(deserialize_with = "or_default")]
    pub(super) instance_groups: Vec<Group>,
    #[serde(deserialize_with = "or_default")]
    pub(super) addons: Vec<Addon>,
    #[serde(deserialize_with = "or_default")]
    pub(super) variables: Vec<VariableSpec>,
    #[serde(deserialize_with = "or_default")]
    pub(super) properties: Map<String, Value>,
    #[serde(deserialize_with = "or_default")]
    pub(super) features: Features,
}

/// A runtime config, or several merged ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RuntimeConfig {
    #[serde(deserialize_with = "or_default")]
    pub(super) releases: Vec<Release>,
    #[serde(deserialize_with = "or_default")]
    pub(super) addons: Vec<Addon>,
    #[serde(deserialize_with = "or_default")]
    pub(super) variables: Vec<VariableSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Features {
    pub(super) use_dns_addresses: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Release {
    pub(super) name: String,
    #[serde(deserialize_with = "version")]
    pub(super) version: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Stemcell {
    pub(super) alias: Option<String>,
    pub(super) os: Option<String>,
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "version")]
    pub(super) version: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Group {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) azs: Vec<String>,
    pub(super) lifecycle: Option<String>,
    pub(super) stemcell: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) networks: Vec<Network>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) jobs: Vec<Job>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) properties: Map<String, Value>,
    #[serde(default)]
    pub(super) persistent_disk: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Network {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) default: Vec<String>,
}

/// A job of an instance group or of an addon.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) release: Option<String>,
    pub(super) properties: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) provides: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) consumes: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) custom_provider_definitions: Vec<Map<String, Value>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Addon {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) jobs: Vec<Job>,
    pub(super) properties: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) include: Filter,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) exclude: Filter,
}

/// YAML parses `1.0` as a number; a director uses its text.
fn version<'de, D: Deserializer<'de>>(node: D) -> Result<String, D::Error> {
    match Value::deserialize(node)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(serde::de::Error::custom("a version is text")),
    }
}

/// Converts a document to a type.
pub(super) fn shaped<T: for<'de> Deserialize<'de>>(what: &str, value: Value) -> Result<T, DirectorError> {
    serde_json::from_value(value).map_err(|error| DirectorError::new(400, 40_000, format!("Bad {what}: {error}")))
}
