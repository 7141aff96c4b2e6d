//! The documents of all configs, and which of them apply to a port.

use std::collections::BTreeMap;

use super::{Authorization, AuthorizationPolicy, PeerAuthentication, PolicyConfig, Scope, document::Breadth};
use crate::{MtlsMode, Origin};

/// The documents of all configs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    pub(super) modes: Scoped<PeerAuthentication>,
    pub(super) authorizations: Scoped<AuthorizationPolicy>,
}

/// Documents of a kind by the deployment to which they apply, so that those of one do not cost the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scoped<D> {
    everywhere: Vec<D>,
    of_deployment: BTreeMap<String, Vec<D>>,
}

/// A document with a scope.
pub(super) trait HasScope {
    fn scope(&self) -> &Scope;
}

impl Policies {
    /// The documents that apply of each config.
    pub fn of(configs: &[PolicyConfig]) -> Self {
        let documents = || configs.iter().filter_map(|config| Some(&config.applied.as_ref()?.documents));
        Self {
            modes: documents().flat_map(|documents| &documents.modes).cloned().collect(),
            authorizations: documents().flat_map(|documents| &documents.authorizations).cloned().collect(),
        }
    }

    /// The mode that documents give a port of a service; `None` when none does. Of documents with equally narrow scopes
    /// the strictest counts.
    pub fn mode(&self, origin: &Origin, port: u16) -> Option<MtlsMode> {
        self.deciding(origin, port).into_iter().map(|(mode, _)| mode).max()
    }

    /// The narrowest documents that give a port a mode, with this mode. A mode of the port alone is narrower than one
    /// of all ports.
    pub(super) fn deciding<'s>(&'s self, origin: &'s Origin, port: u16) -> Vec<(MtlsMode, &'s PeerAuthentication)> {
        let ranked = self.modes.covering(origin).filter_map(|document| document.ranked(port));
        let mut narrowest = (Breadth::Mesh, false);
        let mut deciding = Vec::new();
        for (rank, mode, document) in ranked {
            if rank > narrowest {
                narrowest = rank;
                deciding.clear();
            }
            if rank == narrowest {
                deciding.push((mode, document));
            }
        }
        deciding
    }

    /// Who may connect to a port of a service; `None` when no policy applies to it.
    pub fn authorization(&self, origin: &Origin, port: u16) -> Option<Authorization> {
        Authorization::of(self.authorizations.covering(origin), port)
    }
}

impl PeerAuthentication {
    fn ranked(&self, port: u16) -> Option<((Breadth, bool), MtlsMode, &Self)> {
        let of_port = self.ports.get(&port).and_then(|port| port.mode);
        let (mode, is_of_port) = of_port.map(|mode| (mode, true)).or(self.mode.map(|mode| (mode, false)))?;
        Some(((self.scope.breadth(), is_of_port), mode, self))
    }
}

impl<D: HasScope> Scoped<D> {
    /// The documents that apply to a service.
    pub(super) fn covering<'s>(&'s self, origin: &'s Origin) -> impl Iterator<Item = &'s D> {
        let of_deployment = self.of_deployment.get(&origin.deployment).into_iter().flatten();
        self.everywhere.iter().chain(of_deployment).filter(|document| document.scope().covers(origin))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &D> {
        self.everywhere.iter().chain(self.of_deployment.values().flatten())
    }
}

impl<D: HasScope> Extend<D> for Scoped<D> {
    fn extend<I: IntoIterator<Item = D>>(&mut self, documents: I) {
        for document in documents {
            let list = match &document.scope().deployment {
                Some(deployment) => self.of_deployment.entry(deployment.clone()).or_default(),
                None => &mut self.everywhere,
            };
            list.push(document);
        }
    }
}

impl<D> Default for Scoped<D> {
    fn default() -> Self {
        Self { everywhere: Vec::new(), of_deployment: BTreeMap::new() }
    }
}

impl<D: HasScope> FromIterator<D> for Scoped<D> {
    fn from_iter<I: IntoIterator<Item = D>>(documents: I) -> Self {
        let mut scoped = Self::default();
        scoped.extend(documents);
        scoped
    }
}

impl HasScope for PeerAuthentication {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl HasScope for AuthorizationPolicy {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
