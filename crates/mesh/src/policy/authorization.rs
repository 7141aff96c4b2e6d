//! Who may connect to one port, and the decision about one caller. Envoy decides the same from what
//! `boshy-xds` renders of these values.

use std::fmt;

use ipnet::IpNet;
use serde::Serialize;

use super::{Action, AuthorizationPolicy, Caller, DocumentKind, DocumentName, Pattern, Rule, Source};
use crate::{Position, SpiffeId};

/// The policies that apply to a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Authorization {
    /// Those that are enforced.
    pub enforced: PolicySet,
    /// The same, together with those that are on trial. `None` when none is.
    pub trial: Option<PolicySet>,
}

/// Policies, which decide together. They are sorted, so that the order in which they are written does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicySet {
    /// A caller that one of these matches is denied.
    pub deny: Vec<PolicyOfPort>,
    /// If there are any: a caller that none of these matches is denied.
    pub allow: Vec<PolicyOfPort>,
}

/// What a policy says about the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyOfPort {
    /// Its document.
    pub document: DocumentName,
    /// Its rules for the port. Without any, it matches no caller.
    pub rules: Vec<RuleOfPort>,
}

/// What a rule says about the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleOfPort {
    /// Where it is written.
    pub position: Position,
    /// It matches a caller that matches one of these; without any, every caller.
    pub from: Vec<Source>,
}

/// How a rule is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RuleName {
    /// Its document.
    pub document: DocumentName,
    /// Where it is written; 0 for a link.
    pub position: Position,
}

/// What becomes of a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No policy speaks against it, and none allows only others.
    Unrestricted,
    /// Allowed by a rule.
    Allowed(RuleName),
    /// Denied by a rule.
    Denied(RuleName),
    /// Denied because none of these policies allows it.
    NotAllowed(Vec<DocumentName>),
}

impl Authorization {
    /// What policies say about a port; `None` when none applies to it.
    pub(super) fn of<'p>(policies: impl IntoIterator<Item = &'p AuthorizationPolicy>, port: u16) -> Option<Self> {
        let (trial, enforced): (Vec<_>, Vec<_>) = policies.into_iter().partition(|policy| policy.dry_run);
        if trial.is_empty() && enforced.is_empty() {
            return None;
        }
        let both = enforced.iter().chain(&trial).copied();
        let trial = (!trial.is_empty()).then(|| PolicySet::of(both, port));
        Some(Self { enforced: PolicySet::of(enforced.iter().copied(), port), trial })
    }
}

impl Authorization {
    /// Both together.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let on_trial = |one: &Self| one.trial.clone().unwrap_or_else(|| one.enforced.clone());
        let trial = (self.trial.is_some() || other.trial.is_some()).then(|| on_trial(self).and(on_trial(other)));
        Self { enforced: self.enforced.clone().and(other.enforced.clone()), trial }
    }
}

impl Authorization {
    /// What binds who connects in plaintext, where Envoy accepts that: the policies that name addresses. `None` when none
    /// does. A caller without a certificate can pass by all others, so they are not meant for him.
    pub fn by_address(&self) -> Option<Self> {
        let (enforced, trial) = (self.enforced.by_address(), self.trial.as_ref().map(PolicySet::by_address));
        let trial = trial.filter(|trial| *trial != enforced);
        (trial.is_some() || enforced != PolicySet::default()).then_some(Self { enforced, trial })
    }

    /// All networks that the policies name.
    pub fn networks(&self) -> impl Iterator<Item = &IpNet> {
        let sets = std::iter::once(&self.enforced).chain(&self.trial);
        sets.flat_map(PolicySet::policies).flat_map(PolicyOfPort::sources).flat_map(Source::networks)
    }
}

impl PolicySet {
    fn by_address(&self) -> Self {
        let of = |policies: &[PolicyOfPort]| {
            policies.iter().filter(|policy| policy.sources().any(Source::names_addresses)).cloned().collect()
        };
        Self { deny: of(&self.deny), allow: of(&self.allow) }
    }

    /// All policies.
    fn policies(&self) -> impl Iterator<Item = &PolicyOfPort> {
        self.deny.iter().chain(&self.allow)
    }

    fn and(mut self, other: Self) -> Self {
        for (policies, others) in [(&mut self.deny, other.deny), (&mut self.allow, other.allow)] {
            policies.extend(others);
            policies.sort_unstable();
            policies.dedup();
        }
        self
    }

    fn of<'p>(policies: impl Iterator<Item = &'p AuthorizationPolicy>, port: u16) -> Self {
        let mut set = Self::default();
        for policy in policies {
            let rules = policy.rules.iter().filter(|rule| rule.is_about(port)).map(Rule::without_ports).collect();
            let of_port = PolicyOfPort { document: policy.name.clone(), rules };
            match policy.action {
                Action::Allow => set.allow.push(of_port),
                Action::Deny => set.deny.push(of_port),
            }
        }
        set.allow.sort_unstable();
        set.deny.sort_unstable();
        set
    }

    /// Decides about a caller, as Istio does: what a DENY policy matches is denied; otherwise, what an ALLOW policy
    /// matches is allowed; otherwise it is denied if there is an ALLOW policy.
    pub fn decide(&self, caller: &Caller) -> Decision {
        let matching = |policies: &[PolicyOfPort]| policies.iter().find_map(|policy| policy.rule(caller));
        if let Some(rule) = matching(&self.deny) {
            return Decision::Denied(rule);
        }
        match matching(&self.allow) {
            Some(rule) => Decision::Allowed(rule),
            None if self.allow.is_empty() => Decision::Unrestricted,
            None => Decision::NotAllowed(self.allow.iter().map(|policy| policy.document.clone()).collect()),
        }
    }
}

impl PolicyOfPort {
    /// The first rule that matches a caller.
    fn rule(&self, caller: &Caller) -> Option<RuleName> {
        let rule = self.rules.iter().find(|rule| rule.matches(caller))?;
        Some(RuleName { document: self.document.clone(), position: rule.position })
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.rules.iter().flat_map(|rule| &rule.from)
    }
}

impl RuleOfPort {
    fn matches(&self, caller: &Caller) -> bool {
        self.from.is_empty() || self.from.iter().any(|source| source.matches(caller))
    }
}

impl Rule {
    fn without_ports(&self) -> RuleOfPort {
        RuleOfPort { position: self.position, from: self.from.clone() }
    }
}

impl Source {
    /// Whether a caller matches.
    pub fn matches(&self, caller: &Caller) -> bool {
        let Caller { identity, address } = caller;
        let principal = identity.as_ref().map(SpiffeId::principal);
        let (principal, deployment) = (principal.as_deref(), identity.as_ref().map(SpiffeId::deployment));
        let one = |patterns: &[Pattern], name: Option<&str>| {
            name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
        };
        let within = |networks: &[IpNet]| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
        };
        (self.principals.is_empty() || one(&self.principals, principal))
            && !one(&self.not_principals, principal)
            && (self.namespaces.is_empty() || one(&self.namespaces, deployment))
            && !one(&self.not_namespaces, deployment)
            && (self.ip_blocks.is_empty() || within(&self.ip_blocks))
            && !within(&self.not_ip_blocks)
    }
}

impl Decision {
    /// Whether the connection is made.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Unrestricted | Self::Allowed(_))
    }
}

/// `rule in line 12 of AuthorizationPolicy "db" of config "shop", line 3`.
impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.document.kind {
            DocumentKind::Link => self.document.fmt(f),
            _ => write!(f, "the rule in line {} of {}", self.position.line, self.document),
        }
    }
}

/// `denied by the rule in …`.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrestricted => f.write_str("allowed: no policy speaks against it"),
            Self::Allowed(rule) => write!(f, "allowed by {rule}"),
            Self::Denied(rule) => write!(f, "denied by {rule}"),
            Self::NotAllowed(documents) => {
                f.write_str("denied: no rule allows it of ")?;
                documents
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, document)| write!(f, "{}{document}", if index == 0 { "" } else { " or " }))
            }
        }
    }
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
