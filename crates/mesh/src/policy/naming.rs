//! What is wrong with policies beside the mesh that they are about: names of nobody, policies that are not enforced,
//! documents that contradict each other. Such a document applies nevertheless, and so do all others.

use std::collections::{BTreeMap, BTreeSet};

use super::{AuthorizationPolicy, DocumentKind, DocumentName, Pattern, Scope};
use crate::{
    Discovery, Fallback, Ingress, Inventory, MeshRules, MtlsMode, Origin, Position, Problem, Service, SpiffeId,
    TrustDomain,
};

/// Ports that a problem names; it counts the others.
const SHOWN: usize = 3;

impl MeshRules {
    /// What is wrong with the policies beside the mesh that they are about.
    pub fn problems(&self, inventory: &Inventory, found: &Discovery) -> Vec<Problem> {
        let facts = Facts::of(inventory, found);
        let mut problems: Vec<_> = match &self.mtls {
            None => self.names_without_effect(&facts).map(|name| Problem::new(name.place(), NO_AUTHORITY)).collect(),
            Some(mtls) => {
                let nobody = self.written_authorizations();
                nobody.flat_map(|policy| facts.unknown_callers(policy, &mtls.domain)).collect()
            }
        };
        problems.extend(self.nowhere(&facts));
        problems.extend(self.without_identity(&facts));
        problems.extend(self.unenforced(&facts));
        problems.extend(self.contradictions(&facts));
        problems.extend(self.uncaptured(found));
        problems
    }

    /// The documents that need certificates. What names addresses of callers to a captured port does not.
    fn names_without_effect(&self, facts: &Facts<'_>) -> impl Iterator<Item = &DocumentName> {
        let modes = self.policies.modes.iter().map(|document| &document.name);
        let useless = |policy: &&AuthorizationPolicy| !facts.binds_plaintext(policy);
        modes.chain(self.policies.authorizations.iter().filter(useless).map(|document| &document.name))
    }

    /// Those that people have written. What links say is as true as the director's facts.
    fn written_authorizations(&self) -> impl Iterator<Item = &AuthorizationPolicy> {
        self.policies.authorizations.iter().filter(|policy| policy.name.kind != DocumentKind::Link)
    }

    /// Documents and ports that apply to nothing.
    fn nowhere(&self, facts: &Facts<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for document in self.policies.modes.iter() {
            let ports = document.ports.iter().map(|(number, port)| (*number, port.position));
            problems.extend(facts.nowhere(&document.name, &document.scope, ports));
        }
        for document in self.written_authorizations() {
            let ports = document.rules.iter().flat_map(|rule| {
                let numbers = rule.to.iter().flat_map(|operation| operation.ports.iter().chain(&operation.not_ports));
                numbers.map(|number| (*number, rule.position))
            });
            problems.extend(facts.nowhere(&document.name, &document.scope, ports));
        }
        problems
    }

    /// Services that would be encrypted if their names could be written in a certificate.
    fn without_identity(&self, facts: &Facts<'_>) -> Vec<Problem> {
        let Some(mtls) = &self.mtls else { return Vec::new() };
        let wants = |service: &Service| {
            service.ports.iter().any(|port| self.wanted(&service.origin, port.number) != MtlsMode::Disable)
        };
        let named = facts.services().filter(|service| wants(service)).filter_map(|service| {
            let Origin { deployment, group, .. } = &service.origin;
            let error = SpiffeId::new(&mtls.domain, deployment, group).err()?;
            Some(Problem::new(service.origin.place(), format!("is reached in plaintext only: {error}")))
        });
        named.collect()
    }

    /// Policies on ports that somebody reaches without an identity, where the policy does not bind him by his address.
    fn unenforced(&self, facts: &Facts<'_>) -> Vec<Problem> {
        let has_effect = |policy: &&AuthorizationPolicy| self.mtls.is_some() || facts.binds_plaintext(policy);
        let enforced = self.policies.authorizations.iter().filter(|policy| !policy.dry_run).filter(has_effect);
        let problems = enforced.filter_map(|policy| {
            let open: Vec<_> = facts
                .covered(&policy.scope)
                .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
                .map(|(service, port)| (service, port, self.mode(service, port)))
                .filter(|(.., mode)| *mode != MtlsMode::Strict)
                .filter_map(|(service, port, mode)| {
                    let gap = match port.ingress.filter(|_| policy.names_addresses(port.number)) {
                        Some(Ingress { fallback: Fallback::Closed, .. }) => return None,
                        Some(Ingress { fallback: Fallback::Open, .. }) => OPEN.to_owned(),
                        None => mode.to_string(),
                    };
                    Some(format!("{} port {} ({gap})", service.host, port.number))
                })
                .collect();
            let reason = format!("is not enforced for callers in plaintext at {}", listed(&open)?);
            Some(Problem::new(policy.name.place(), reason))
        });
        problems.collect()
    }

    /// Documents with equally narrow scopes that give one port different modes.
    fn contradictions(&self, facts: &Facts<'_>) -> Vec<Problem> {
        let mut problems = BTreeMap::new();
        for service in facts.services() {
            for port in &service.ports {
                let deciding = self.policies.deciding(&service.origin, port.number);
                let Some((strictest, winner)) = deciding.iter().max_by_key(|(mode, _)| *mode) else { continue };
                for (mode, loser) in deciding.iter().filter(|(mode, _)| mode < strictest) {
                    let where_ = format!("{} port {}", service.host, port.number);
                    let reason =
                        format!("says {mode} for {where_}, but {} says {strictest}: the stricter applies", winner.name);
                    problems.entry(&loser.name).or_insert_with(|| Problem::new(loser.name.place(), reason));
                }
            }
        }
        problems.into_values().collect()
    }
}

const NO_AUTHORITY: &str = "has no effect: this pilot has no certificate authority, which its setting `identity` names";

/// What passes by the Envoy of a captured port.
const OPEN: &str = "captured, but open without Envoy and by IPv6";

/// The names that there are, and the services by deployment.
struct Facts<'f> {
    groups: BTreeMap<&'f str, BTreeSet<&'f str>>,
    services: BTreeMap<&'f str, Vec<&'f Service>>,
}

impl<'f> Facts<'f> {
    fn of(inventory: &'f Inventory, found: &'f Discovery) -> Self {
        let mut groups: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for deployment in &inventory.deployments {
            let names = deployment.groups.iter().map(|group| group.name.as_str());
            groups.entry(deployment.name.as_str()).or_default().extend(names);
        }
        let mut services: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for service in found.services.values().flatten() {
            services.entry(service.origin.deployment.as_str()).or_default().push(service);
        }
        Self { groups, services }
    }

    fn services(&self) -> impl Iterator<Item = &'f Service> {
        self.services.values().flatten().copied()
    }

    /// Whether a policy decides about somebody who connects in plaintext.
    fn binds_plaintext(&self, policy: &AuthorizationPolicy) -> bool {
        let mut ports = self.covered(&policy.scope).flat_map(|service| &service.ports);
        ports.any(|port| port.ingress.is_some() && policy.names_addresses(port.number))
    }

    fn covered(&self, scope: &Scope) -> impl Iterator<Item = &'f Service> {
        let of_one = scope.deployment.as_ref().map(|name| self.services.get(name.as_str()));
        let (one, all) = match of_one {
            Some(services) => (services, None),
            None => (None, Some(self.services())),
        };
        let services = one.into_iter().flatten().copied().chain(all.into_iter().flatten());
        services.filter(move |service| scope.covers(&service.origin))
    }

    /// Why a document applies to no service, or a port of it to none.
    fn nowhere(
        &self,
        name: &DocumentName,
        scope: &Scope,
        ports: impl Iterator<Item = (u16, Position)>,
    ) -> Vec<Problem> {
        if let Some(reason) = self.applies_to_nothing(scope) {
            return vec![Problem::new(name.place(), reason)];
        }
        let exposed: BTreeSet<_> =
            self.covered(scope).flat_map(|service| &service.ports).map(|port| port.number).collect();
        let unknown = ports.filter(|(number, _)| !exposed.contains(number));
        unknown
            .map(|(number, position)| {
                let reason = format!("names port {number}, which no service that it applies to exposes");
                Problem::new(name.place().at(position), reason)
            })
            .collect()
    }

    fn applies_to_nothing(&self, scope: &Scope) -> Option<String> {
        let Scope { deployment, group, job } = scope;
        if let Some(name) = deployment.as_ref().filter(|name| !self.groups.contains_key(name.as_str())) {
            return Some(format!("applies to the deployment {name:?}, which does not exist"));
        }
        let of_scope = |name: &&str| deployment.as_ref().is_none_or(|wanted| wanted == name);
        let mut groups = self.groups.iter().filter(|(name, _)| of_scope(name)).flat_map(|(_, groups)| groups);
        if let Some(name) = group
            && !groups.any(|group| group == name)
        {
            return Some(format!("applies to the instance group {name:?}, which does not exist there"));
        }
        let is_covered = self.covered(scope).next().is_some();
        match job {
            Some(name) if !is_covered => Some(format!("applies to the job {name:?}, which exposes no port there")),
            None if !is_covered && group.is_some() => Some("applies to an instance group that exposes no port".into()),
            _ => None,
        }
    }

    /// Sources of a policy that name nobody. What the mesh does not know of, such as another trust domain, may exist.
    fn unknown_callers(&self, policy: &AuthorizationPolicy, domain: &TrustDomain) -> Vec<Problem> {
        let mut problems = Vec::new();
        for rule in &policy.rules {
            let place = || policy.name.place().at(rule.position);
            for source in &rule.from {
                let principals = source.principals.iter().chain(&source.not_principals);
                let unknown = principals.filter(|principal| self.is_unknown(principal, domain));
                problems.extend(
                    unknown
                        .map(|name| Problem::new(place(), format!("names the principal {name}, who does not exist"))),
                );
                let namespaces = source.namespaces.iter().chain(&source.not_namespaces);
                let unknown = namespaces.filter(|pattern| !self.groups.keys().any(|name| pattern.matches(name)));
                problems.extend(
                    unknown.map(|name| {
                        Problem::new(place(), format!("names the deployment {name}, which does not exist"))
                    }),
                );
            }
        }
        problems
    }

    fn is_unknown(&self, principal: &Pattern, domain: &TrustDomain) -> bool {
        let Pattern::Exact(text) = principal else { return false };
        let Ok(id) = SpiffeId::from_principal(text) else { return false };
        let exists = || self.groups.get(id.deployment()).is_some_and(|groups| groups.contains(id.group()));
        id.domain() == domain && !exists()
    }
}

/// `a, b, c and 2 more`; `None` when there is nothing to list.
fn listed(names: &[String]) -> Option<String> {
    let shown = names.get(..names.len().min(SHOWN)).filter(|shown| !shown.is_empty())?.join(", ");
    Some(match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    })
}

#[cfg(test)]
#[path = "naming_tests.rs"]
mod tests;
