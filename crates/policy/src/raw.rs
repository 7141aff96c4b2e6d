//! Documents as written: their shapes, before anything is checked.
//!
//! A field that is written without a value is told from one that is left out: in a policy the one is a mistake, and
//! the other stands for everything.

use std::collections::BTreeMap;

use boshy_yaml::Positioned;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A field: `None` when it is left out, a positioned `None` when it has no value.
pub(crate) struct Field<T>(pub(crate) Option<Positioned<Option<T>>>);
/// A list of texts. A number counts as its digits.
pub(crate) type Texts = Field<Vec<Positioned<String>>>;
/// A field of Istio that has no meaning here.
pub(crate) type Refused = Field<IgnoredAny>;

/// A document of a kind whose fields are `S`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be a map", rename_all = "camelCase")]
pub(crate) struct RawDocument<S> {
    pub(crate) api_version: Option<Positioned<String>>,
    #[serde(rename = "kind")]
    pub(crate) _kind: IgnoredAny,
    pub(crate) metadata: Option<Positioned<RawMetadata>>,
    pub(crate) spec: Option<Positioned<S>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawMetadata {
    pub(crate) name: Option<Positioned<String>>,
    pub(crate) namespace: Option<Positioned<String>>,
    pub(crate) annotations: Option<RawAnnotations>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawAnnotations {
    #[serde(rename = "istio.io/dry-run")]
    pub(crate) dry_run: Option<Positioned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "must be a map", rename_all = "camelCase")]
pub(crate) struct RawPeerAuthentication {
    pub(crate) selector: Field<RawSelector>,
    pub(crate) mtls: Field<RawMtls>,
    pub(crate) port_level_mtls: Field<BTreeMap<String, Positioned<RawMtls>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawMtls {
    pub(crate) mode: Option<Positioned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "must be a map", rename_all = "camelCase")]
pub(crate) struct RawSelector {
    pub(crate) match_labels: Field<RawLabels>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawLabels {
    pub(crate) group: Option<Positioned<String>>,
    pub(crate) job: Option<Positioned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawAuthorizationPolicy {
    pub(crate) selector: Field<RawSelector>,
    pub(crate) action: Option<Positioned<String>>,
    pub(crate) rules: Option<Vec<Positioned<RawRule>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawRule {
    pub(crate) from: Field<Vec<Positioned<RawFrom>>>,
    pub(crate) to: Field<Vec<Positioned<RawTo>>>,
    pub(crate) when: Refused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawFrom {
    pub(crate) source: Option<Positioned<RawSource>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "must be a map", rename_all = "camelCase")]
pub(crate) struct RawSource {
    pub(crate) principals: Texts,
    pub(crate) not_principals: Texts,
    pub(crate) namespaces: Texts,
    pub(crate) not_namespaces: Texts,
    pub(crate) request_principals: Refused,
    pub(crate) not_request_principals: Refused,
    pub(crate) remote_ip_blocks: Refused,
    pub(crate) not_remote_ip_blocks: Refused,
    pub(crate) ip_blocks: Texts,
    pub(crate) not_ip_blocks: Texts,
    pub(crate) service_accounts: Refused,
    pub(crate) not_service_accounts: Refused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "must be a map")]
pub(crate) struct RawTo {
    pub(crate) operation: Option<Positioned<RawOperation>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "must be a map", rename_all = "camelCase")]
pub(crate) struct RawOperation {
    pub(crate) ports: Texts,
    pub(crate) not_ports: Texts,
    pub(crate) hosts: Refused,
    pub(crate) not_hosts: Refused,
    pub(crate) methods: Refused,
    pub(crate) not_methods: Refused,
    pub(crate) paths: Refused,
    pub(crate) not_paths: Refused,
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        Positioned::deserialize(field).map(|written| Self(Some(written)))
    }
}
