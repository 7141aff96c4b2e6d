//! Policies that follow from BOSH links: who consumes a link may call the job that provides it.
//!
//! Unknown is not the same as nobody. While it is not known what a deployment consumes, all of it may call; while it is
//! not known what a deployment provides, nothing follows for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, AuthorizationPolicy, DocumentKind, DocumentName, Pattern, Policies, Rule, Scope, Source};
use crate::{Deployment, Lifecycle, Position, ProvidedLink, SpiffeId, TrustDomain};

/// What follows from links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FromLinks {
    /// Nothing; the director is not asked for links.
    #[default]
    Disable,
    /// Policies on trial, which change no decision.
    DryRun,
    /// Policies.
    Enforce,
}

impl Policies {
    /// These policies, and those that follow from the links of all deployments.
    #[must_use]
    pub fn with_links(mut self, deployments: &[Deployment], domain: &TrustDomain, from: FromLinks) -> Self {
        if from != FromLinks::Disable {
            let dry_run = from == FromLinks::DryRun;
            self.authorizations.extend(policies(deployments, domain, dry_run));
        }
        self
    }
}

/// A policy for each link that a job provides which exposes ports.
fn policies(deployments: &[Deployment], domain: &TrustDomain, dry_run: bool) -> Vec<AuthorizationPolicy> {
    let consumers = Consumers::of(deployments, domain);
    let provided = deployments.iter().flat_map(|deployment| {
        let links = deployment.links.iter().flat_map(|links| &links.provided);
        links.filter(|link| exposes(deployment, link)).map(move |link| (deployment, link))
    });
    let policy = |(deployment, link): (&Deployment, &ProvidedLink)| AuthorizationPolicy {
        name: name(deployment, link),
        scope: Scope {
            deployment: Some(deployment.name.clone()),
            group: Some(link.group.clone()),
            job: Some(link.job.clone()),
        },
        action: Action::Allow,
        dry_run,
        rules: consumers.rule(&link.id).into_iter().collect(),
    };
    provided.map(policy).collect()
}

fn exposes(deployment: &Deployment, link: &ProvidedLink) -> bool {
    let mut groups = deployment.groups.iter();
    let group = groups.find(|group| group.name == link.group && group.lifecycle == Lifecycle::Service);
    group.is_some_and(|group| group.jobs.iter().any(|job| job.name == link.job && !job.ports.is_empty()))
}

fn name(deployment: &Deployment, link: &ProvidedLink) -> DocumentName {
    DocumentName {
        config: deployment.name.clone(),
        position: Position::default(),
        kind: DocumentKind::Link,
        name: format!("{}/{}/{}", link.group, link.job, link.name),
    }
}

/// Who consumes which link.
struct Consumers<'d> {
    /// Principals by the id of the provider. A consumer without an identity cannot call.
    of_link: BTreeMap<&'d str, BTreeSet<Pattern>>,
    /// All groups of the deployments of which it is not known what they consume.
    unknown: BTreeSet<Pattern>,
}

impl<'d> Consumers<'d> {
    fn of(deployments: &'d [Deployment], domain: &TrustDomain) -> Self {
        let mut consumers = Self { of_link: BTreeMap::new(), unknown: BTreeSet::new() };
        for deployment in deployments {
            let Some(links) = &deployment.links else {
                let whole = Pattern::parse(&format!("{domain}/ns/{}/sa/*", deployment.name));
                consumers.unknown.extend(whole);
                continue;
            };
            for link in &links.consumed {
                let principal = SpiffeId::new(domain, &deployment.name, &link.group).map(|id| id.principal());
                let of_link = consumers.of_link.entry(&link.provider).or_default();
                of_link.extend(principal.map(Pattern::Exact));
            }
        }
        consumers
    }

    /// The rule of a link; `None` when nobody may call, which is different from a rule without sources.
    fn rule(&self, link: &str) -> Option<Rule> {
        let known = self.of_link.get(link).into_iter().flatten();
        let principals: Vec<_> = known.chain(&self.unknown).cloned().collect();
        let source = Source { principals, ..Source::default() };
        let position = Position::default();
        (!source.principals.is_empty()).then(|| Rule { position, from: vec![source], to: Vec::new() })
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
