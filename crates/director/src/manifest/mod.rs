//! Parses the part of a manifest that the mesh uses.
//!
//! The director checks only the keys that it knows and keeps the others, so unknown keys are ignored here as well. The
//! director never checks `expose_ports`: it is kept as written, in any shape, and checked in `boshy-mesh`, where a
//! wrong entry is reported by group, job and key instead of by line. An `expose_ports` that has no effect is reported
//! (`misplaced`).

mod addons;
mod configs;
mod misplaced;
mod networks;
mod ports;

use std::{collections::HashSet, sync::Arc};

use boshy_mesh::{Place, Problem, WrittenDeployment, WrittenGroup, WrittenJob, WrittenPorts};

pub use self::configs::{RuntimeConfig, cloud_networks};
use boshy_yaml::{Document, Limits, Map, Shape, View, YamlError};

/// The key under which a job exposes ports.
const EXPOSE_PORTS: &str = "expose_ports";

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

/// Parser of one manifest or one runtime config.
struct Reader<'n> {
    /// Name of the deployment; empty for a config.
    name: &'n str,
    place: Place,
    /// The `expose_ports` keys that have an effect, by their node.
    used: HashSet<u32>,
    problems: Vec<Problem>,
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

    fn expose_ports(&mut self, job: Map<'_>) -> WrittenPorts {
        let Some(pair) = job.get(EXPOSE_PORTS) else { return WrittenPorts::Absent };
        self.used.insert(pair.key.node());
        ports::written(pair.value)
    }
}

fn map(view: View<'_>) -> Result<Map<'_>, YamlError> {
    match view.shape() {
        Shape::Map(map) => Ok(map),
        _ => Err(view.refused("must be a map")),
    }
}

/// The list under a key. A missing list counts as empty; a director accepts nothing else than a list.
fn list<'d>(map: Map<'d>, key: &str) -> Result<Vec<View<'d>>, YamlError> {
    let Some(pair) = map.get(key) else { return Ok(Vec::new()) };
    match pair.value.shape() {
        Shape::List(list) => Ok(list.items().collect()),
        Shape::Scalar(boshy_yaml::Scalar::Null) => Ok(Vec::new()),
        _ => Err(pair.value.refused(format!("{key} must be a list"))),
    }
}

fn named(view: View<'_>, map: Map<'_>) -> Result<String, YamlError> {
    let name = map.get("name").ok_or_else(|| view.refused("has no name"))?;
    name.value.text().ok_or_else(|| name.value.refused("a name must be text"))
}

/// The names of the maps listed under a key; other entries are skipped.
fn names(map: Map<'_>, key: &str) -> Vec<String> {
    let items = list(map, key).unwrap_or_default();
    items.into_iter().filter_map(|item| named(item, self::map(item).ok()?).ok()).collect()
}

/// The texts listed under a key; other entries are skipped.
fn texts(map: Map<'_>, key: &str) -> Vec<String> {
    list(map, key).unwrap_or_default().into_iter().filter_map(View::text).collect()
}

#[cfg(test)]
mod tests;
