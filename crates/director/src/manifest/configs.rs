//! Parses the parts of configs that the mesh uses: the addons of a runtime config and the networks of a cloud config.
//!
//! A director has accepted these configs, and rejects a deploy to which it cannot apply them. A part that cannot be
//! parsed is skipped, and no deployment is affected.

use std::{collections::HashSet, net::IpAddr};

use boshy_mesh::{CloudNetwork, Place, Problem, WrittenPorts};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::{
    addon::Addon,
    misplaced, networks,
    reader::Reader,
    shape::{list, map, named, texts},
};
use boshy_yaml::{Document, Limits, Map, Shape, View, YamlError};

/// A version of a runtime config.
#[derive(Debug)]
pub struct RuntimeConfig {
    pub(super) name: String,
    pub(super) addons: Vec<Addon>,
    problems: Vec<Problem>,
}

impl RuntimeConfig {
    /// Parses the text of the config with this name.
    pub fn read(name: &str, text: &str, limits: &Limits) -> Self {
        let place = Place::config("runtime", name);
        let mut reader = Reader { name: "", place: place.clone(), used: HashSet::new(), problems: Vec::new() };
        let mut addons = match reader.addons_of_config(text, limits) {
            Ok(addons) => addons,
            Err(error) => {
                reader.problems.push(Problem::new(place.clone(), error.to_string()));
                Vec::new()
            }
        };
        let mut problems = reader.problems;
        for addon in &mut addons {
            for job in &mut addon.jobs {
                let wrong = job.ports.problems(&place.clone().addon(&addon.name).job(&job.name));
                if !wrong.is_empty() {
                    job.ports = WrittenPorts::Absent;
                    problems.extend(wrong);
                }
            }
        }
        Self { name: name.to_owned(), addons, problems }
    }

    /// Parts of it that cannot be used, each with its place.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether any of its jobs exposes ports.
    pub fn exposes(&self) -> bool {
        self.addons.iter().flat_map(|addon| &addon.jobs).any(|job| job.ports != WrittenPorts::Absent)
    }
}

impl Reader<'_> {
    fn addons_of_config(&mut self, text: &str, limits: &Limits) -> Result<Vec<Addon>, YamlError> {
        let document = Document::read(text, limits)?;
        let addons = match document.root().map(View::shape) {
            Some(Shape::Map(config)) => self.written_addons(config),
            _ => Vec::new(),
        };
        misplaced::name(self, &document);
        document.finish()?;
        Ok(addons)
    }
}

/// The networks of a cloud config.
///
/// # Errors
/// When the text is not YAML or exceeds the limits.
pub fn cloud_networks(text: &str, limits: &Limits) -> Result<Vec<CloudNetwork>, YamlError> {
    let document = Document::read(text, limits)?;
    let networks = match document.root().map(View::shape) {
        Some(Shape::Map(config)) => list(config, "networks").unwrap_or_default(),
        _ => Vec::new(),
    };
    let networks = networks.into_iter().filter_map(network).collect();
    document.finish()?;
    Ok(networks)
}

fn network(view: View<'_>) -> Option<CloudNetwork> {
    let network = map(view).ok()?;
    let is_vip = network.get("type").is_some_and(|kind| kind.value.is_text("vip"));
    let mut ranges = Vec::new();
    for subnet in list(network, "subnets").unwrap_or_default().into_iter().filter_map(|subnet| map(subnet).ok()) {
        ranges.extend(range(subnet));
        // The addresses of a vip network are those that it lists.
        ranges.extend(texts(subnet, "static").iter().filter(|_| is_vip).flat_map(|text| blocks(text)));
    }
    Some(CloudNetwork { name: named(view, network).ok()?, is_vip, ranges })
}

fn range(subnet: Map<'_>) -> Option<IpNet> {
    subnet.get("range")?.value.text()?.trim().parse().ok()
}

/// An address or a range of addresses as blocks.
fn blocks(text: &str) -> Vec<IpNet> {
    match networks::range(text) {
        Some((IpAddr::V4(first), IpAddr::V4(last))) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
        Some((IpAddr::V6(first), IpAddr::V6(last))) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "configs_tests.rs"]
mod tests;
