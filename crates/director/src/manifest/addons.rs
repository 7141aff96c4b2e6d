//! Adds the jobs of addons to the instance groups of a manifest: first of its own addons, then of those of runtime
//! configs.

use std::{collections::HashMap, sync::Arc};

use boshy_mesh::{Place, Problem, WrittenGroup, WrittenJob, WrittenPorts};

use super::{
    addon::Addon,
    configs::RuntimeConfig,
    reader::{EXPOSE_PORTS, Reader},
    shape::{list, map, named, names, texts},
};
use crate::addons::{Candidate, Filter, applies};
use boshy_yaml::{Map, View, YamlError};

/// Context that determines the jobs of a deployment in addition to its manifest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Surroundings<'a> {
    /// Teams that own the deployment.
    pub(crate) teams: &'a [String],
    /// The runtime configs that it was deployed with, in the director's order.
    pub(crate) runtime_configs: &'a [Arc<RuntimeConfig>],
    /// The runtime configs of its next deploy.
    pub(crate) latest: &'a [Arc<RuntimeConfig>],
}

/// The job that makes a VM part of the mesh.
const AGENT: &str = "virtual-ip-agent";

/// Properties of a group that addons' conditions use.
#[derive(Clone)]
struct Traits {
    azs: Vec<String>,
    networks: Vec<String>,
    os: String,
    /// Name and release of its jobs, including those of addons so far.
    jobs: Vec<(String, String)>,
}

/// Where addons are written.
#[derive(Clone, Copy)]
enum Level<'a> {
    Manifest,
    /// In the runtime config of this name.
    Runtime(&'a str),
}

impl Reader<'_> {
    /// Adds the jobs of addons to the groups to which a director adds them, in the director's order.
    pub(super) fn add_addons(
        &mut self,
        manifest: Map<'_>,
        groups: &mut [WrittenGroup],
        surroundings: &Surroundings<'_>,
    ) -> Result<(), YamlError> {
        let own = self.written_addons(manifest);
        let exposes_more = surroundings.runtime_configs.iter().any(|config| config.exposes());
        let addons_to_come: Vec<&Addon> = surroundings.latest.iter().flat_map(|config| &config.addons).collect();
        let meshes = addons_to_come.iter().any(|addon| addon.brings(AGENT));
        if own.is_empty() && !exposes_more && !meshes {
            return Ok(());
        }
        let os = systems(manifest);
        let written = list(manifest, "instance_groups")?;
        let traits = written.into_iter().map(|group| Ok(traits(map(group)?, &os))).collect::<Result<_, YamlError>>()?;
        let mut adding = Adding { name: self.name, teams: surroundings.teams, groups, traits };
        for addon in &own {
            self.problems.extend(adding.add(addon, Level::Manifest));
        }
        self.problems.extend(adding.left_out(&addons_to_come));
        for config in surroundings.runtime_configs.iter().filter(|_| exposes_more) {
            for addon in &config.addons {
                adding.add(addon, Level::Runtime(&config.name));
            }
        }
        Ok(())
    }
}

/// Groups to which jobs of addons are added.
struct Adding<'a> {
    name: &'a str,
    teams: &'a [String],
    groups: &'a mut [WrittenGroup],
    traits: Vec<Traits>,
}

impl Adding<'_> {
    /// Adds one addon's jobs. Returns the `expose_ports` that have no effect in this manifest.
    fn add(&mut self, addon: &Addon, level: Level<'_>) -> Vec<Problem> {
        // The groups of an addon are determined before its first job is added.
        let fits = |(group, traits): (&WrittenGroup, &Traits)| match level {
            Level::Runtime(_) => self.fits(&addon.include, &addon.exclude, group, traits),
            // A manifest's addons apply to its own deployment: a director ignores teams in them.
            Level::Manifest => self.fits(&without_teams(&addon.include), &without_teams(&addon.exclude), group, traits),
        };
        let fits: Vec<bool> = self.groups.iter().zip(&self.traits).map(fits).collect();
        let mut problems = Vec::new();
        for job in &addon.jobs {
            let mut serves = false;
            let groups = self.groups.iter_mut().zip(&mut self.traits).zip(&fits);
            for ((group, traits), _) in groups.filter(|(_, fits)| **fits) {
                serves |= !group.errand;
                traits.jobs.push((job.name.clone(), job.release.clone()));
                let runtime_config = match level {
                    Level::Manifest => None,
                    // Every VM has some of these; only those that expose ports are relevant.
                    Level::Runtime(_) if job.ports == WrittenPorts::Absent => continue,
                    Level::Runtime(config) => Some(config.to_owned()),
                };
                let (name, expose_ports) = (job.name.clone(), job.ports.clone());
                group.jobs.push(WrittenJob { name, expose_ports, addon: Some(addon.name.clone()), runtime_config });
            }
            if !serves && job.ports != WrittenPorts::Absent {
                let place = Place::deployment(self.name).addon(&addon.name).job(&job.name).key(EXPOSE_PORTS);
                let reason = "has no effect: the addon is for no instance group that is a service";
                problems.push(Problem::new(place, reason));
            }
        }
        problems
    }

    fn fits(&self, include: &Filter, exclude: &Filter, group: &WrittenGroup, traits: &Traits) -> bool {
        let candidate = Candidate {
            deployment: self.name,
            teams: self.teams,
            group: &group.name,
            lifecycle: if group.errand { "errand" } else { "service" },
            os: &traits.os,
            networks: &traits.networks,
            azs: &traits.azs,
            jobs: &traits.jobs,
        };
        applies(include, exclude, candidate)
    }

    /// Groups that the next deploy would leave out of the mesh only because no addon names their line of stemcells. Any
    /// other exclusion was written for the group, and Windows is excluded on purpose.
    fn left_out(&self, addons: &[&Addon]) -> Vec<Problem> {
        let left_out = |(group, traits): (&WrittenGroup, &Traits)| {
            let mut traits = traits.clone();
            let mut by_stemcell = false;
            for addon in addons {
                if self.fits(&addon.include, &addon.exclude, group, &traits) {
                    traits.jobs.extend(addon.jobs.iter().map(|job| (job.name.clone(), job.release.clone())));
                } else if addon.brings(AGENT) {
                    let any_line = Filter { stemcell: Vec::new(), ..addon.include.clone() };
                    by_stemcell |= self.fits(&any_line, &addon.exclude, group, &traits);
                }
            }
            let is_in = traits.jobs.iter().any(|(name, _)| name == AGENT);
            let os = traits.os;
            (!is_in && by_stemcell && !os.is_empty() && !os.starts_with("windows")).then(|| {
                let reason = format!(
                    "gets no mesh: it brings no bpm, and no addon with {AGENT} includes its stemcell's line {os:?}; \
                     operations/runtime-stemcell.yml adds one to the runtime config"
                );
                Problem::new(Place::deployment(self.name).group(&group.name), reason)
            })
        };
        self.groups.iter().zip(&self.traits).filter_map(left_out).collect()
    }
}

fn without_teams(filter: &Filter) -> Filter {
    Filter { teams: Vec::new(), ..filter.clone() }
}

fn traits(group: Map<'_>, os: &HashMap<String, String>) -> Traits {
    let text = |key: &str| group.get(key).and_then(|pair| pair.value.text()).unwrap_or_default();
    let job = |view: View<'_>| {
        let job = map(view).ok()?;
        Some((named(view, job).ok()?, job.get("release").and_then(|release| release.value.text()).unwrap_or_default()))
    };
    Traits {
        azs: texts(group, "azs"),
        networks: names(group, "networks"),
        os: os.get(&text("stemcell")).cloned().unwrap_or_default(),
        jobs: list(group, "jobs").unwrap_or_default().into_iter().filter_map(job).collect(),
    }
}

/// Operating systems of the manifest's stemcells by alias. The name of a stemcell contains the system
/// (`bosh-warden-boshlite-ubuntu-jammy-go_agent`).
fn systems(manifest: Map<'_>) -> HashMap<String, String> {
    let stemcell = |view: View<'_>| {
        let stemcell = map(view).ok()?;
        let text = |key: &str| stemcell.get(key).and_then(|pair| pair.value.text());
        let by_name = || {
            let name = text("name")?;
            let name = name.strip_suffix("-go_agent").unwrap_or(&name);
            let at = ["ubuntu-", "windows", "centos-", "opensuse-"].iter().find_map(|system| name.find(system))?;
            Some(name[at..].to_owned())
        };
        Some((text("alias")?, text("os").or_else(by_name)?))
    };
    list(manifest, "stemcells").unwrap_or_default().into_iter().filter_map(stemcell).collect()
}
