//! Runtime and cloud configs, and those that are written for the mesh. Pure.
//!
//! A runtime config takes effect in a deployment at its next deploy. So a deployment uses the versions that it was
//! deployed with. The director lists their ids, and a version never changes. While none of them exposes ports, they are
//! not requested. After a failed request, what is known stays.
//!
//! A director has no cheaper way to tell of configs than their text: each list contains it. So the configs of the mesh
//! are requested as seldom as the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use boshy_mesh::{AppliedConfig, CloudNetwork, Inventory, Place, PolicyConfig, Problem, WrittenConfig};

use super::cadence::Cadence;
use crate::{
    client::ClientError,
    manifest::{RuntimeConfig, cloud_networks},
    wire::Config,
};
use boshy_yaml::Limits;

/// Replies to the requests for configs.
#[derive(Debug)]
pub struct ConfigsReading {
    /// The latest version of every runtime config.
    pub runtime: Result<Vec<Config>, ClientError>,
    /// The latest version of every cloud config.
    pub cloud: Result<Vec<Config>, ClientError>,
    /// The latest version of every config that is written for the mesh.
    pub mesh: Result<Vec<Config>, ClientError>,
}

/// The runtime configs that a deployment was deployed with.
#[derive(Debug)]
pub struct AppliedConfigs {
    /// Their ids and names.
    pub versions: Vec<(u64, String)>,
    /// Those that were not known before, except deleted versions: the director does not return their contents.
    pub unknown: Vec<Config>,
}

/// Known configs.
pub(super) struct Configs {
    limits: Limits,
    pub(super) cadence: Cadence,
    pub(super) was_tried: bool,
    /// Why they could not be read completely.
    pub(super) error: Option<Arc<ClientError>>,
    versions: BTreeMap<u64, Arc<RuntimeConfig>>,
    latest: BTreeSet<u64>,
    /// Whether a runtime config exposes ports, or did.
    expose: bool,
    networks: Vec<CloudNetwork>,
    network_problems: Vec<Problem>,
    policies: Vec<PolicyConfig>,
    /// Whether this process has checked them. Those of an earlier one are checked anew, because another release of boshy
    /// may understand more or less.
    policies_are_checked: bool,
}

impl Configs {
    /// Starts with the facts of an earlier life.
    pub(super) fn new(limits: Limits, known: &Inventory) -> Self {
        let groups = known.deployments.iter().flat_map(|deployment| &deployment.groups);
        let expose = groups.flat_map(|group| &group.jobs).any(|job| job.runtime_config.is_some());
        Self {
            limits,
            cadence: Cadence::default(),
            was_tried: false,
            error: None,
            versions: BTreeMap::new(),
            latest: BTreeSet::new(),
            expose,
            networks: known.networks.clone(),
            network_problems: Vec::new(),
            policies: known.policies.clone(),
            policies_are_checked: false,
        }
    }

    /// The known versions, when a deployment's versions have to be requested.
    pub(super) fn wanted(&self) -> Option<BTreeSet<u64>> {
        self.expose.then(|| self.versions.keys().copied().collect())
    }

    /// Keeps what is known, because an answer may be incomplete for this reason.
    pub(super) fn refuse(&mut self, reason: Arc<ClientError>) {
        self.was_tried = true;
        self.error = Some(reason);
    }

    /// Handles an answer. Returns whether from now on a deployment's configs have to be known.
    pub(super) fn take(&mut self, reading: ConfigsReading) -> bool {
        self.was_tried = true;
        self.error = None;
        let before = self.expose;
        match reading.runtime {
            Ok(configs) => {
                self.latest = configs.iter().filter_map(|config| self.learn(config)).collect();
                // Older versions are kept while a deployment uses them.
                let latest = &self.latest;
                self.versions.retain(|id, version| latest.contains(id) || Arc::strong_count(version) > 1);
            }
            Err(error) => self.error = Some(Arc::new(error)),
        }
        match reading.cloud {
            Ok(configs) => self.take_networks(&configs),
            Err(error) => self.error = Some(Arc::new(error)),
        }
        match reading.mesh {
            Ok(configs) => {
                self.policies = configs.into_iter().map(|config| self.judged(config)).collect();
                self.policies_are_checked = true;
            }
            Err(error) => self.error = Some(Arc::new(error)),
        }
        self.expose && !before
    }

    /// Checks a config of the mesh, unless its version is known. While its latest version is wrong, the one that applied
    /// before applies.
    fn judged(&self, config: Config) -> PolicyConfig {
        let Config { id, name, content, team, .. } = config;
        let before = self.policies.iter().find(|known| known.name == name);
        if let Some(known) = before.filter(|known| self.policies_are_checked && known.latest == id) {
            return known.clone();
        }
        let written = WrittenConfig { name, content };
        let read = match team {
            None => boshy_policy::read(&written),
            Some(team) => Err(vec![of_team(&written, &team)]),
        };
        let WrittenConfig { name, .. } = written;
        match read {
            Ok(documents) => {
                let applied = Some(AppliedConfig { version: id.clone(), documents });
                PolicyConfig { name, latest: id, applied, problems: Vec::new() }
            }
            Err(problems) => {
                let applied = before.and_then(|known| known.applied.clone());
                PolicyConfig { name, latest: id, applied, problems }
            }
        }
    }

    fn take_networks(&mut self, configs: &[Config]) {
        (self.networks, self.network_problems) = (Vec::new(), Vec::new());
        for config in configs {
            match cloud_networks(&config.content, &self.limits) {
                Ok(networks) => self.networks.extend(networks),
                Err(error) => {
                    self.network_problems.push(Problem::new(Place::config("cloud", &config.name), error.to_string()));
                }
            }
        }
    }

    /// Parses a version, unless it is known.
    fn learn(&mut self, config: &Config) -> Option<u64> {
        let id = config.id.parse().ok()?;
        let read = || Arc::new(RuntimeConfig::read(&config.name, &config.content, &self.limits));
        self.expose |= self.versions.entry(id).or_insert_with(read).exposes();
        Some(id)
    }

    /// Returns the runtime configs of a deployment, ordered by version, and the names of those whose contents are not
    /// known.
    pub(super) fn of_deployment(&mut self, applied: AppliedConfigs) -> (Vec<Arc<RuntimeConfig>>, BTreeSet<String>) {
        let AppliedConfigs { mut versions, unknown } = applied;
        for config in &unknown {
            self.learn(config);
        }
        versions.sort_unstable();
        let (mut known, mut missing) = (Vec::new(), BTreeSet::new());
        for (id, name) in versions {
            match self.versions.get(&id) {
                Some(version) => known.push(Arc::clone(version)),
                None => {
                    missing.insert(name);
                }
            }
        }
        (known, missing)
    }

    pub(super) fn networks(&self) -> &[CloudNetwork] {
        &self.networks
    }

    /// The configs that are written for the mesh.
    pub(super) fn policies(&self) -> &[PolicyConfig] {
        &self.policies
    }

    /// The latest runtime configs, ordered by version.
    pub(super) fn latest(&self) -> Vec<Arc<RuntimeConfig>> {
        self.latest.iter().filter_map(|id| self.versions.get(id)).cloned().collect()
    }

    /// Problems of the latest versions.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let latest = self.latest.iter().filter_map(|id| self.versions.get(id));
        latest.flat_map(|config| config.problems()).chain(&self.network_problems).cloned().collect()
    }
}

/// A team may write configs, but a document may name any deployment.
fn of_team(config: &WrittenConfig, team: &str) -> Problem {
    let reason = format!(
        "belongs to the team {team:?}: only configs of the director's administrators apply, because a document may name \
         the deployments of others"
    );
    Problem::new(config.place(), reason)
}
