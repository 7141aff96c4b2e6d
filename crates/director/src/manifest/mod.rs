//! Parses the part of a manifest that the mesh uses.
//!
//! The director checks only the keys that it knows and keeps the others, so unknown keys are ignored here as well. The
//! director never checks `expose_ports`: it is kept as written, in any shape, and checked in `boshy-mesh`, where a
//! wrong entry is reported by group, job and key instead of by line. An `expose_ports` that has no effect is reported
//! (`misplaced`).

mod addon;
mod addons;
mod configs;
mod misplaced;
mod networks;
mod ports;
mod reader;
mod shape;

use std::collections::HashSet;

use boshy_mesh::{Place, Problem, WrittenDeployment, WrittenGroup, WrittenJob, WrittenPorts};

pub(crate) use self::addons::Surroundings;
pub use self::configs::{RuntimeConfig, cloud_networks};
use self::{
    reader::{EXPOSE_PORTS, Reader},
    shape::{list, map, named, names},
};
use boshy_yaml::{Document, Limits, Shape, View, YamlError};

/// Parses the manifest of the deployment that the director lists as `name`.
///
/// # Errors
/// When the text is not YAML, exceeds the limits, or is so unlike a manifest that the director cannot have accepted it.
pub fn read(name: &str, text: &str, limits: &Limits) -> Result<WrittenDeployment, YamlError> {
    read_within(name, text, limits, Surroundings::default())
}

/// The same, with the jobs that runtime configs add.
pub(crate) fn read_within(
    name: &str,
    text: &str,
    limits: &Limits,
    surroundings: Surroundings<'_>,
) -> Result<WrittenDeployment, YamlError> {
    let document = Document::read(text, limits)?;
    let mut reader = Reader { name, place: Place::deployment(name), used: HashSet::new(), problems: Vec::new() };
    let groups = reader.groups(&document, &surroundings);
    // An exhausted budget is the cause of whatever was missing after it.
    document.finish()?;
    let groups = groups?;
    misplaced::name(&mut reader, &document);
    document.finish()?;
    Ok(WrittenDeployment { name: name.to_owned(), groups, problems: reader.problems })
}

impl Reader<'_> {
    fn groups(&mut self, document: &Document, surroundings: &Surroundings<'_>) -> Result<Vec<WrittenGroup>, YamlError> {
        let Some(root) = document.root() else { return Ok(Vec::new()) };
        let manifest = match root.shape() {
            Shape::Map(manifest) => manifest,
            Shape::Scalar(boshy_yaml::Scalar::Null) => return Ok(Vec::new()),
            _ => return Err(root.refused("a manifest must be a map")),
        };
        let mut groups = Vec::new();
        for group in list(manifest, "instance_groups")? {
            groups.push(self.group(group)?);
        }
        self.add_addons(manifest, &mut groups, surroundings)?;
        Ok(groups)
    }

    fn group(&mut self, view: View<'_>) -> Result<WrittenGroup, YamlError> {
        let group = map(view)?;
        let name = named(view, group)?;
        let errand = group.get("lifecycle").is_some_and(|lifecycle| lifecycle.value.is_text("errand"));
        let mut jobs = Vec::new();
        for job in list(group, "jobs")? {
            jobs.push(self.job(job)?);
        }
        if errand {
            for job in jobs.iter().filter(|job| job.expose_ports != WrittenPorts::Absent) {
                let place = Place::deployment(self.name).group(&name).job(&job.name).key(EXPOSE_PORTS);
                self.problems.push(Problem::new(place, "has no effect in an errand, which is never an endpoint"));
            }
        }
        let networks = networks::of_group(group);
        let migrated_from = names(group, "migrated_from");
        Ok(WrittenGroup { name, errand, jobs, networks, migrated_from })
    }

    fn job(&mut self, view: View<'_>) -> Result<WrittenJob, YamlError> {
        let job = map(view)?;
        let (name, expose_ports) = (named(view, job)?, self.expose_ports(job));
        Ok(WrittenJob { name, expose_ports, addon: None, runtime_config: None })
    }
}

#[cfg(test)]
mod tests;
