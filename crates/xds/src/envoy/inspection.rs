//! Compares what Envoy reports to have with what it was served.
//!
//! Envoy's admin interface reports a version of each listener and cluster. By delta it is the hash of the content. By
//! state of the world it is the version of a whole response, so only names can be compared.
//!
//! Only names and versions are requested (`mask`). At 5,000 services that costs Envoy's main thread 0.07 s for
//! listeners and 0.27 s for clusters, and 0.9 and 1.3 MB, whereas the whole dump takes 0.57 s and 10 MB. Endpoints have
//! no version there. Comparing their contents would take another 0.5 s and 6.7 MB each time, and is left out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Flavour, ResourceSet, ResourceType};

/// Paths for `GET` at Envoy's admin interface, by resource type.
pub const INSPECTED: [(ResourceType, &str); 2] = [
    (ResourceType::Listener, "/config_dump?resource=dynamic_listeners&mask=name,active_state.version_info"),
    (ResourceType::Cluster, "/config_dump?resource=dynamic_active_clusters&mask=version_info,cluster.name"),
];

/// Path for `GET` at Envoy's admin interface: the runtime values that Envoy was started with. `/server_info` has the
/// bootstrap's node as well, but takes 128 kB, because it lists every extension of Envoy.
pub const RUNTIME: &str = "/runtime";

/// A runtime value of the bootstrap that Envoy itself does not use: the time in seconds after which a connection to a
/// vanished instance ends, 0 to leave it to the kernel.
pub(super) const PEER_TIMEOUT: &str = "boshy.peer_timeout";

/// Names of resources in use, with their versions.
pub type Found = BTreeMap<String, String>;

/// An answer that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("read Envoy's config dump of each {}", kind.noun())]
pub struct InspectionError {
    kind: ResourceType,
    #[source]
    source: serde_json::Error,
}

/// A resource that differs in Envoy from what it acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Its name.
    pub name: Arc<str>,
    /// The version that was served and accepted; `null` when Envoy should have none.
    pub wanted: Option<Arc<str>>,
    /// The version in Envoy; `null` when it has none.
    pub found: Option<String>,
}

#[derive(Deserialize)]
struct Dump {
    #[serde(default)]
    configs: Vec<Config>,
}

/// `envoy.admin.v3.ListenersConfigDump.DynamicListener` or `ClustersConfigDump.DynamicCluster`.
#[derive(Deserialize)]
struct Config {
    name: Option<String>,
    active_state: Option<State>,
    version_info: Option<String>,
    cluster: Option<Named>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    version_info: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

/// Parses an answer to a request of [`INSPECTED`]. Resources that are warming or draining are not in use.
///
/// # Errors
/// When the answer cannot be parsed.
pub fn read(kind: ResourceType, answer: &[u8]) -> Result<Found, InspectionError> {
    let dump: Dump = serde_json::from_slice(answer).map_err(|source| InspectionError { kind, source })?;
    let in_use = |config: Config| match kind {
        ResourceType::Listener => Some((config.name?, config.active_state?.version_info)),
        _ => Some((config.cluster?.name, config.version_info.unwrap_or_default())),
    };
    Ok(dump.configs.into_iter().filter_map(in_use).collect())
}

/// The time after which a connection to a vanished instance ends by Envoy's bootstrap, zero to leave it to the kernel.
/// Parses an answer to a request of [`RUNTIME`]; `None` for a bootstrap that does not say it.
pub fn peer_timeout(answer: &[u8]) -> Option<Duration> {
    let runtime: Value = serde_json::from_slice(answer).ok()?;
    let seconds = runtime.get("entries")?.get(PEER_TIMEOUT)?.get("final_value")?.as_str()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Differences of one type: resources that were served and `accepted` (the version, by name) and are not in use in this
/// version, and resources in use that were neither.
pub fn differences(
    kind: ResourceType,
    flavour: Flavour,
    served: &ResourceSet,
    accepted: impl Fn(&str) -> Option<Arc<str>>,
    found: &Found,
) -> Vec<Difference> {
    let served = served.of(kind);
    if !served.is_known() {
        return Vec::new();
    }
    let lost = served.iter().filter_map(|resource| {
        let has = found.get(&*resource.name);
        let differs = has.is_none_or(|has| flavour == Flavour::Delta && **has != *resource.version);
        let promised = differs && accepted(&resource.name).as_ref() == Some(&resource.version);
        promised.then(|| Difference {
            kind,
            name: Arc::clone(&resource.name),
            wanted: Some(Arc::clone(&resource.version)),
            found: has.cloned(),
        })
    });
    let unwanted = found.iter().filter(|(name, _)| served.get(name).is_none() && accepted(name).is_none());
    let unwanted = unwanted.map(|(name, version)| Difference {
        kind,
        name: name.as_str().into(),
        wanted: None,
        found: Some(version.clone()),
    });
    lost.chain(unwanted).collect()
}

impl Difference {
    /// Describes the difference in a sentence.
    pub fn sentence(&self) -> String {
        let Self { kind, name, wanted, found } = self;
        let noun = kind.noun();
        match (wanted, found) {
            (Some(_), None) => format!("Envoy acknowledged the {noun} {name} and does not have it"),
            (Some(wanted), Some(found)) => {
                format!("Envoy acknowledged version {wanted} of the {noun} {name} and has {found}")
            }
            (None, _) => format!("Envoy has the {noun} {name}, which it was told is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layer, Resource, TypedResources};

    fn served(names: &[(&str, &str)]) -> ResourceSet {
        let resource = |(name, version): &(&str, &str)| {
            let resource = Resource { name: (*name).into(), version: (*version).into(), body: bytes::Bytes::new() };
            (resource.name.clone(), Arc::new(resource))
        };
        let map = Arc::new(names.iter().map(resource).collect());
        ResourceSet::default().with(ResourceType::Listener, TypedResources::new([Layer::new(map)]))
    }

    #[test]
    fn the_dump_of_either_type_is_read_without_what_is_not_in_use() {
        let listeners = br#"{"configs":[
            {"@type":"x","name":"a","active_state":{"version_info":"1"}},
            {"@type":"x","name":"warming"},
            {"name":"unversioned","active_state":{}}]}"#;
        let found = read(ResourceType::Listener, listeners).unwrap();
        assert_eq!(found, Found::from([("a".into(), "1".into()), ("unversioned".into(), String::new())]));
        let clusters = br#"{"configs":[{"@type":"x","version_info":"2","cluster":{"@type":"y","name":"out.a|http"}}]}"#;
        assert_eq!(read(ResourceType::Cluster, clusters).unwrap(), Found::from([("out.a|http".into(), "2".into())]));
        assert!(read(ResourceType::Cluster, b"{}").unwrap().is_empty());
        assert!(read(ResourceType::Cluster, b"no filter").is_err());
    }

    #[test]
    fn the_time_of_the_bootstrap_is_read_and_an_earlier_bootstrap_says_none() {
        let read = |value: &str| {
            let entry = format!(r#"{{"final_value":"{value}","layer_values":["{value}"]}}"#);
            peer_timeout(format!(r#"{{"layers":["boshy"],"entries":{{"boshy.peer_timeout":{entry}}}}}"#).as_bytes())
        };
        assert_eq!(read("50"), Some(Duration::from_secs(50)));
        assert_eq!(read("0"), Some(Duration::ZERO));
        let earlier = peer_timeout(br#"{"layers":["boshy"],"entries":{}}"#);
        assert_eq!((earlier, read("-1"), peer_timeout(b"<html>")), (None, None, None));
    }

    #[test]
    fn what_was_accepted_and_is_missing_old_or_left_over_differs_and_what_is_under_way_does_not() {
        let served = served(&[("same", "1"), ("missing", "1"), ("old", "2"), ("under-way", "2"), ("refused", "1")]);
        let found: Found = [("same", "1"), ("old", "1"), ("under-way", "1"), ("left-over", "1"), ("leaving", "1")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into();
        let accepted = |name: &str| match name {
            "same" | "missing" | "under-way" | "leaving" => Some(Arc::from("1")),
            "old" => Some(Arc::from("2")),
            _ => None,
        };
        let told = differences(ResourceType::Listener, Flavour::Delta, &served, accepted, &found);
        let told: Vec<_> = told.iter().map(|one| (&*one.name, one.wanted.is_some(), one.found.as_deref())).collect();
        assert_eq!(told, [("missing", true, None), ("old", true, Some("1")), ("left-over", false, Some("1"))]);
        let unknown = ResourceSet::default();
        assert_eq!(differences(ResourceType::Listener, Flavour::Delta, &unknown, accepted, &found), []);
        let told = differences(ResourceType::Listener, Flavour::Sotw, &served, accepted, &found);
        let told: Vec<_> = told.iter().map(|one| &*one.name).collect();
        assert_eq!(told, ["missing", "left-over"], "its versions are those of whole responses");
    }
}
