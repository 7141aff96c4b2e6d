//! Which addons go to which instance groups, for whoever reads a manifest: the mesh's client and the embedded director.
//!
//! `Bosh::Director::Addon::Filter`: conditions are ANDed, the values of one are ORed; what is excluded is not included.

use serde::{Deserialize, Deserializer};

/// Which instance groups an addon is for, or not for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    #[serde(deserialize_with = "or_default")]
    pub(crate) deployments: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) jobs: Vec<FilterJob>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) instance_groups: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) stemcell: Vec<FilterStemcell>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) networks: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) teams: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) azs: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) lifecycle: String,
}

/// A job that a group has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct FilterJob {
    pub(crate) name: String,
    pub(crate) release: String,
}

/// A stemcell that a group has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct FilterStemcell {
    pub(crate) os: String,
}

/// What an addon's conditions are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) deployment: &'a str,
    pub(crate) teams: &'a [String],
    pub(crate) group: &'a str,
    pub(crate) lifecycle: &'a str,
    pub(crate) os: &'a str,
    pub(crate) networks: &'a [String],
    pub(crate) azs: &'a [String],
    /// Name and release of the jobs that the group has so far.
    pub(crate) jobs: &'a [(String, String)],
}

/// Whether an addon's jobs are to run in an instance group.
pub(crate) fn applies(include: &Filter, exclude: &Filter, candidate: Candidate<'_>) -> bool {
    fits(include, candidate).unwrap_or(true) && !fits(exclude, candidate).unwrap_or(false)
}

/// Whether all conditions hold; none without conditions.
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

/// A key without a value is as good as none.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(node: D) -> Result<T, D::Error> {
    Option::deserialize(node).map(Option::unwrap_or_default)
}
