//! Decides to which instance groups an addon applies. Both readers of manifests use it: the mesh's client and the lab's
//! director.
//!
//! As in `Bosh::Director::Addon::Filter`, conditions are ANDed and the values of one are ORed. Exclusion takes
//! precedence over inclusion.

use serde::{Deserialize, Deserializer};

/// Conditions on instance groups, to include or exclude them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Deployments by name.
    #[serde(deserialize_with = "or_default")]
    pub deployments: Vec<String>,
    /// Jobs of the group at that time, including those of earlier addons.
    #[serde(deserialize_with = "or_default")]
    pub jobs: Vec<FilterJob>,
    /// Instance groups by name.
    #[serde(deserialize_with = "or_default")]
    pub instance_groups: Vec<String>,
    /// Stemcells by operating system.
    #[serde(deserialize_with = "or_default")]
    pub stemcell: Vec<FilterStemcell>,
    /// Networks of a group, by name.
    #[serde(deserialize_with = "or_default")]
    pub networks: Vec<String>,
    /// Teams that own the deployment.
    #[serde(deserialize_with = "or_default")]
    pub teams: Vec<String>,
    /// Availability zones of a group.
    #[serde(deserialize_with = "or_default")]
    pub azs: Vec<String>,
    /// `service` or `errand`; empty for either.
    #[serde(deserialize_with = "or_default")]
    pub lifecycle: String,
}

/// A job of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FilterJob {
    /// Name of the job.
    pub name: String,
    /// Release that the job comes from.
    pub release: String,
}

/// A stemcell of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FilterStemcell {
    /// Operating system, such as `ubuntu-noble`.
    pub os: String,
}

/// A group, as input of an addon's conditions.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Deployment that the group belongs to.
    pub deployment: &'a str,
    /// Teams that own the deployment.
    pub teams: &'a [String],
    /// Name of the instance group.
    pub group: &'a str,
    /// `service` or `errand`.
    pub lifecycle: &'a str,
    /// Operating system of the group's stemcell.
    pub os: &'a str,
    /// Networks of the group.
    pub networks: &'a [String],
    /// Availability zones of the group.
    pub azs: &'a [String],
    /// Name and release of the jobs that the group has so far.
    pub jobs: &'a [(String, String)],
}

/// Whether an addon's jobs run in an instance group.
pub fn applies(include: &Filter, exclude: &Filter, candidate: Candidate<'_>) -> bool {
    fits(include, candidate).unwrap_or(true) && !fits(exclude, candidate).unwrap_or(false)
}

/// Whether all conditions hold; `None` without conditions.
fn fits(filter: &Filter, candidate: Candidate<'_>) -> Option<bool> {
    let any_of = |values: &[String], own: &[String]| values.iter().any(|value| own.contains(value));
    let conditions = [
        condition(&filter.deployments, |names| names.iter().any(|name| name == candidate.deployment)),
        condition(&filter.jobs, |jobs| {
            let has = |(name, release): &(String, String)| {
                jobs.iter().any(|job| job.name == *name && job.release == *release)
            };
            candidate.jobs.iter().any(has)
        }),
        condition(&filter.instance_groups, |names| names.iter().any(|name| name == candidate.group)),
        condition(&filter.stemcell, |stemcells| stemcells.iter().any(|stemcell| stemcell.os == candidate.os)),
        condition(&filter.networks, |networks| any_of(networks, candidate.networks)),
        condition(&filter.teams, |teams| any_of(teams, candidate.teams)),
        condition(&filter.azs, |azs| any_of(azs, candidate.azs)),
        (!filter.lifecycle.is_empty()).then(|| filter.lifecycle == candidate.lifecycle),
    ];
    conditions.into_iter().flatten().reduce(|all, one| all && one)
}

fn condition<T>(values: &[T], holds: impl FnOnce(&[T]) -> bool) -> Option<bool> {
    (!values.is_empty()).then(|| holds(values))
}

/// Treats a key without a value like a missing key.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(node: D) -> Result<T, D::Error> {
    Option::deserialize(node).map(Option::unwrap_or_default)
}
