//! Addons, as written in a manifest or a runtime config.

use boshy_mesh::{Problem, WrittenPorts};
use boshy_yaml::{Map, View, YamlError};
use serde::Deserialize;

use super::{
    reader::Reader,
    shape::{list, map, named},
};
use crate::addons::Filter;

/// An addon, and the groups it applies to.
#[derive(Debug)]
pub(super) struct Addon {
    pub(super) name: String,
    pub(super) include: Filter,
    pub(super) exclude: Filter,
    pub(super) jobs: Vec<AddonJob>,
}

/// A job of an addon.
#[derive(Debug)]
pub(super) struct AddonJob {
    pub(super) name: String,
    pub(super) release: String,
    pub(super) ports: WrittenPorts,
}

impl Addon {
    pub(super) fn brings(&self, job: &str) -> bool {
        self.jobs.iter().any(|known| known.name == job)
    }
}

impl Reader<'_> {
    /// The addons at the top level of a document. One that cannot be parsed is skipped. If its conditions cannot be
    /// parsed, it applies to no group.
    pub(super) fn written_addons(&mut self, document: Map<'_>) -> Vec<Addon> {
        let mut addons = Vec::new();
        for addon in list(document, "addons").unwrap_or_default() {
            let Ok(map) = map(addon) else { continue };
            let Ok(name) = named(addon, map) else { continue };
            let jobs = self.addon_jobs(map);
            match (filter(map, "include"), filter(map, "exclude")) {
                (Ok(include), Ok(exclude)) => addons.push(Addon { name, include, exclude, jobs }),
                (Err(error), _) | (_, Err(error)) => {
                    let place = self.place.clone().addon(&name);
                    self.problems.push(Problem::new(place, format!("is for groups that cannot be read: {error}")));
                }
            }
        }
        addons
    }

    fn addon_jobs(&mut self, addon: Map<'_>) -> Vec<AddonJob> {
        let mut job = |view: View<'_>| {
            let job = map(view).ok()?;
            let release = job.get("release").and_then(|release| release.value.text()).unwrap_or_default();
            Some(AddonJob { name: named(view, job).ok()?, release, ports: self.expose_ports(job) })
        };
        list(addon, "jobs").unwrap_or_default().into_iter().filter_map(&mut job).collect()
    }
}

fn filter(addon: Map<'_>, key: &str) -> Result<Filter, YamlError> {
    let Some(pair) = addon.get(key) else { return Ok(Filter::default()) };
    let filter: Option<Filter> = Option::deserialize(pair.value)?;
    Ok(filter.unwrap_or_default())
}
