//! Links as data: who provides, who consumes, and what each consumer got.

use serde_json::{Map, Value};

/// Links of a deployment.
#[derive(Default)]
pub(super) struct Links {
    pub(super) providers: Vec<Provider>,
    pub(super) consumers: Vec<Consumer>,
}

/// A link that a job provides.
pub(super) struct Provider {
    pub(super) group: String,
    pub(super) job: String,
    /// Name in the release.
    pub(super) original: String,
    /// Name in the manifest.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) shared: bool,
    pub(super) consumable: bool,
    pub(super) properties: Value,
    pub(super) aliases: Vec<Value>,
}

/// A link that a job consumes.
pub(super) struct Consumer {
    pub(super) group: String,
    pub(super) job: String,
    pub(super) original: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) optional: bool,
    pub(super) wish: Wish,
    pub(super) target: Option<Target>,
}

/// The manifest's entry for a consumed link.
pub(super) enum Wish {
    /// No entry.
    Any,
    /// `nil`.
    Blocked,
    /// A manual link.
    Manual(Map<String, Value>),
    Named {
        deployment: Option<String>,
        network: Option<String>,
        ip_addresses: Option<bool>,
    },
}

/// The source of a consumer's link.
pub(super) enum Target {
    Manual(Map<String, Value>),
    Provider { at: ProviderAt, network: Option<String>, ip_addresses: Option<bool> },
}

/// A provider by its names.
pub(super) struct ProviderAt {
    pub(super) deployment: String,
    pub(super) group: String,
    pub(super) job: String,
    pub(super) original: String,
}

/// A DNS name for the instances behind a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    /// Domain; a leading `_.` is a placeholder according to `placeholder_type`.
    pub(crate) domain: String,
    /// Instance group of the provider.
    pub(crate) group: String,
    /// Link group of the provider, `LINK-TYPE`.
    pub(crate) link_group: String,
    pub(crate) health_filter: Option<String>,
    pub(crate) initial_health_check: Option<String>,
    pub(crate) placeholder_type: Option<String>,
}

impl Provider {
    pub(super) fn link_group(&self) -> String {
        format!("{}-{}", self.name, self.kind)
    }
}

impl Links {
    pub(super) fn groups_of(&self, group: &str) -> Vec<String> {
        self.providers.iter().filter(|provider| provider.group == group).map(Provider::link_group).collect()
    }

    pub(super) fn aliases(&self) -> Vec<Alias> {
        let of = |provider: &Provider| -> Vec<Alias> {
            let text = |alias: &Value, key: &str| alias.get(key).and_then(Value::as_str).map(str::to_owned);
            let alias = |alias: &Value| {
                Some(Alias {
                    domain: text(alias, "domain")?,
                    group: provider.group.clone(),
                    link_group: provider.link_group(),
                    health_filter: text(alias, "health_filter"),
                    initial_health_check: text(alias, "initial_health_check"),
                    placeholder_type: text(alias, "placeholder_type"),
                })
            };
            provider.aliases.iter().filter_map(alias).collect()
        };
        self.providers.iter().flat_map(of).collect()
    }
}
