//! Resolves a manifest and the runtime configs as far as possible without addresses: which jobs run where, with which
//! properties and links.
//!
//! ```text
//!   Inputs ── resolve ──> Resolved ── renderings(addresses) ──> Renderings ── render(ruby) ──> an ApplySpec per instance
//!             refuses      pure                    pure                        takes time, needs no lock
//! ```
//!
//! Texts and codes of errors are the director's.
//!
//! Not promised: links of disks and variables, `migrated_from`, `property_mappings`, and links created by `POST
//! /links`.

mod addons;
mod documents;
mod groups;
mod interpolate;
mod links;
mod rendering;
mod rows;
mod written;

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

use self::{groups::Group, links::Links};
pub(crate) use self::{
    links::Alias,
    rendering::{Peer, Renderings, Surroundings},
};
use super::{
    DirectorError,
    stores::{ReleaseStore, StemcellStore, Variables},
};
use boshy_director::wire::NameVersion;

/// Inputs of a deploy.
pub(crate) struct Inputs<'a> {
    /// The manifest as sent.
    pub(crate) manifest: &'a str,
    /// Latest content of every runtime config, `default` first.
    pub(crate) runtime_configs: &'a [String],
    /// Teams that own the deployment.
    pub(crate) teams: &'a [String],
    pub(crate) releases: &'a ReleaseStore,
    pub(crate) stemcells: &'a StemcellStore,
    pub(crate) variables: &'a mut Variables,
    /// Result of the last deploy of another deployment; [`Resolved::nothing`] when no deploy of it was resolved, `None`
    /// when there is no such deployment.
    pub(crate) others: &'a dyn Fn(&str) -> Option<Arc<Resolved>>,
}

/// A resolved deploy. It contains secrets and is therefore never shown in `Debug`.
pub(crate) struct Resolved {
    name: String,
    releases: Vec<NameVersion>,
    stemcells: Vec<NameVersion>,
    use_dns_addresses: bool,
    groups: Vec<Group>,
    links: Links,
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Resolves a deploy.
///
/// # Errors
/// When a director would refuse it. Values of variables generated until then stay.
pub(crate) fn resolve(inputs: Inputs<'_>) -> Result<Resolved, DirectorError> {
    groups::resolve(inputs)
}

impl Resolved {
    /// A deployment that provides nothing, because no deploy of it was resolved.
    pub(crate) fn nothing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            releases: Vec::new(),
            stemcells: Vec::new(),
            use_dns_addresses: true,
            groups: Vec::new(),
            links: Links::default(),
        }
    }

    /// Releases in use, including those of addons, with their actual versions.
    pub(crate) fn releases(&self) -> &[NameVersion] {
        &self.releases
    }

    /// Stemcells in use, by name, with their actual versions.
    pub(crate) fn stemcells(&self) -> &[NameVersion] {
        &self.stemcells
    }

    /// Operating system of an instance group's VMs.
    pub(crate) fn stemcell_os(&self, group: &str) -> Option<&str> {
        self.group(group).map(|group| group.os.as_str())
    }

    /// Stemcell of an instance group's VMs.
    pub(crate) fn stemcell_of(&self, group: &str) -> Option<&NameVersion> {
        self.group(group).map(|group| &group.stemcell)
    }

    /// Names of the link groups of an instance group's instances, each `LINK-TYPE`, for the group ids of records.json.
    pub(crate) fn link_groups(&self, group: &str) -> Vec<String> {
        self.links.groups_of(group)
    }

    /// DNS aliases that the manifest defines for links.
    pub(crate) fn aliases(&self) -> Vec<Alias> {
        self.links.aliases()
    }

    /// Rows of `GET /link_providers`; `id` returns the next id.
    pub(crate) fn provider_rows(&self, id: &mut dyn FnMut() -> u64) -> Vec<Value> {
        rows::providers(&self.name, &self.links, id)
    }

    /// Rows of `GET /link_consumers`; `id` returns the next id.
    pub(crate) fn consumer_rows(&self, id: &mut dyn FnMut() -> u64) -> Vec<Value> {
        rows::consumers(&self.name, &self.links, id)
    }

    /// The renderings for some instances of the deployment.
    pub(crate) fn renderings(
        &self,
        instances: &[super::Instance],
        surroundings: &Surroundings<'_>,
    ) -> Result<Renderings, DirectorError> {
        rendering::renderings(self, instances, surroundings)
    }

    fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// In the order of insertion.
type Named<T> = Vec<(String, T)>;

/// Errors of jobs by instance group, in a director's format.
#[derive(Default)]
struct JobErrors {
    groups: Named<Named<Vec<String>>>,
}

impl JobErrors {
    /// Adds errors of a job, without duplicates.
    fn add(&mut self, group: &str, job: &str, texts: Vec<String>) {
        let jobs = entry(&mut self.groups, group);
        let known = entry(jobs, job);
        for text in texts {
            if !known.contains(&text) {
                known.push(text);
            }
        }
    }

    fn into_result(self) -> Result<(), DirectorError> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let mut text = "Unable to render instance groups for deployment. Errors are:".to_owned();
        for (group, jobs) in self.groups {
            text += &format!("\n  - Unable to render jobs for instance group '{group}'. Errors are:");
            for (job, errors) in jobs {
                text += &format!("\n    - Unable to render templates for job '{job}'. Errors are:");
                for error in errors {
                    text += &format!("\n      - {}", error.trim().replace('\n', "\n        "));
                }
            }
        }
        Err(DirectorError::new(500, 100, text))
    }
}

fn entry<'a, T: Default>(list: &'a mut Named<T>, key: &str) -> &'a mut T {
    let position = list.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
        list.push((key.to_owned(), T::default()));
        list.len() - 1
    });
    &mut list[position].1
}

/// Numbers of availability zones in DNS names.
pub(crate) type AzIds = BTreeMap<String, u32>;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
