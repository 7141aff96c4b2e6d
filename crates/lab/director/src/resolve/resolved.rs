//! What a resolved deploy is.

use std::fmt;

use boshy_director::wire::{Link, LinkConsumer, LinkProvider, NameVersion};

use super::{
    group::Group,
    link::{Alias, Links},
    rows,
};

/// A resolved deploy. It contains secrets and is therefore never shown in `Debug`.
pub(crate) struct Resolved {
    pub(super) name: String,
    pub(super) releases: Vec<NameVersion>,
    pub(super) stemcells: Vec<NameVersion>,
    pub(super) use_dns_addresses: bool,
    pub(super) groups: Vec<Group>,
    pub(super) links: Links,
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved").field("name", &self.name).finish_non_exhaustive()
    }
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

    /// Rows of `GET /link_providers`.
    pub(crate) fn provider_rows(&self, ids: rows::Ids<'_>) -> Vec<LinkProvider> {
        rows::providers(&self.name, &self.links, ids)
    }

    /// Rows of `GET /link_consumers`.
    pub(crate) fn consumer_rows(&self, ids: rows::Ids<'_>) -> Vec<LinkConsumer> {
        rows::consumers(&self.name, &self.links, ids)
    }

    /// Rows of `GET /links`.
    pub(crate) fn link_rows(&self, ids: rows::Ids<'_>) -> Vec<Link> {
        rows::links(&self.name, &self.links, ids)
    }

    pub(super) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}
