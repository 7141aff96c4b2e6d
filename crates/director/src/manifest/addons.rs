//! Jobs that addons of a manifest bring to its instance groups.

use std::collections::HashMap;

use boshy_mesh::{Place, Problem, WrittenGroup, WrittenJob, WrittenPorts};
use serde::Deserialize;

use super::{EXPOSE_PORTS, Reader, list, map, named, texts};
use crate::{
    addons::{Candidate, Filter, applies},
    yaml::{Map, View, YamlError},
};

/// Of a group, what addons ask about.
struct Traits {
    azs: Vec<String>,
    networks: Vec<String>,
    os: String,
    /// Name and release, those of addons so far included.
    jobs: Vec<(String, String)>,
}

/// An addon's job that exposes something.
struct AddonJob {
    name: String,
    release: String,
    ports: WrittenPorts,
}

impl Reader<'_> {
    /// Adds the exposing jobs of addons to the groups that a director adds them to, in the order written.
    pub(super) fn addons(&mut self, manifest: Map<'_>, groups: &mut [WrittenGroup]) -> Result<(), YamlError> {
        let addons = list(manifest, "addons").unwrap_or_default();
        if addons.is_empty() {
            return Ok(());
        }
        let os = systems(manifest);
        let written = list(manifest, "instance_groups")?;
        let mut traits =
            written.into_iter().map(|group| Ok(traits(map(group)?, &os))).collect::<Result<Vec<_>, YamlError>>()?;
        for addon in addons {
            let Ok(map) = map(addon) else { continue };
            let Ok(name) = named(addon, map) else { continue };
            let jobs = self.addon_jobs(map);
            match (filter(map, "include"), filter(map, "exclude")) {
                (Ok(include), Ok(exclude)) => self.add(&name, jobs, (&include, &exclude), groups, &mut traits),
                (Err(error), _) | (_, Err(error)) => {
                    let place = Place::deployment(self.name).addon(&name);
                    self.problems.push(Problem::new(place, format!("is for groups that cannot be read: {error}")));
                }
            }
        }
        Ok(())
    }

    fn addon_jobs(&mut self, addon: Map<'_>) -> Vec<AddonJob> {
        let mut job = |view: View<'_>| {
            let job = map(view).ok()?;
            let release = job.get("release").and_then(|release| release.value.text()).unwrap_or_default();
            Some(AddonJob { name: named(view, job).ok()?, release, ports: self.expose_ports(job) })
        };
        list(addon, "jobs").unwrap_or_default().into_iter().filter_map(&mut job).collect()
    }

    fn add(
        &mut self,
        addon: &str,
        jobs: Vec<AddonJob>,
        (include, exclude): (&Filter, &Filter),
        groups: &mut [WrittenGroup],
        traits: &mut [Traits],
    ) {
        let candidate = |(group, traits): (&WrittenGroup, &Traits)| {
            // A manifest's addons are for its own deployment, whatever its teams.
            applies(
                include,
                exclude,
                Candidate {
                    deployment: self.name,
                    teams: &include.teams,
                    group: &group.name,
                    lifecycle: if group.errand { "errand" } else { "service" },
                    os: &traits.os,
                    networks: &traits.networks,
                    azs: &traits.azs,
                    jobs: &traits.jobs,
                },
            )
        };
        // Which groups an addon is for is decided before its first job is added.
        let fits: Vec<bool> = groups.iter().zip(&*traits).map(candidate).collect();
        for job in jobs {
            let mut serves = false;
            for ((group, traits), _) in groups.iter_mut().zip(&mut *traits).zip(&fits).filter(|(_, fits)| **fits) {
                serves |= !group.errand;
                traits.jobs.push((job.name.clone(), job.release.clone()));
                let (name, expose_ports) = (job.name.clone(), job.ports.clone());
                group.jobs.push(WrittenJob { name, expose_ports, addon: Some(addon.to_owned()) });
            }
            if !serves && job.ports != WrittenPorts::Absent {
                let place = Place::deployment(self.name).addon(addon).job(&job.name).key(EXPOSE_PORTS);
                self.problems
                    .push(Problem::new(place, "has no effect: the addon is for no instance group that is a service"));
            }
        }
    }
}

fn filter(addon: Map<'_>, key: &str) -> Result<Filter, YamlError> {
    let Some(pair) = addon.get(key) else { return Ok(Filter::default()) };
    let filter: Option<Filter> = Option::deserialize(pair.value)?;
    // A director does not look at teams in an addon of a manifest.
    Ok(Filter { teams: Vec::new(), ..filter.unwrap_or_default() })
}

fn traits(group: Map<'_>, os: &HashMap<String, String>) -> Traits {
    let text = |key: &str| group.get(key).and_then(|pair| pair.value.text()).unwrap_or_default();
    let job = |view: View<'_>| {
        let job = map(view).ok()?;
        Some((named(view, job).ok()?, job.get("release").and_then(|release| release.value.text()).unwrap_or_default()))
    };
    Traits {
        azs: texts(group, "azs"),
        networks: super::names(group, "networks"),
        os: os.get(&text("stemcell")).cloned().unwrap_or_default(),
        jobs: list(group, "jobs").unwrap_or_default().into_iter().filter_map(job).collect(),
    }
}

/// Operating systems of the manifest's stemcells by alias. One that is given by its name has the system in it
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
