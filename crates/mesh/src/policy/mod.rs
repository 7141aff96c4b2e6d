//! Policies: what operators write about the mesh in the director's configs, after its check.
//!
//! The kinds and their meaning are Istio's (`security.istio.io/v1`). A deployment stands where Istio has the namespace,
//! an instance group where it has the service account. What a text must look like is the business of `boshy-policy`.
//! Beside them are policies that follow from BOSH links.

mod authorization;
mod caller;
mod document;
mod links;
mod naming;
mod pattern;
mod policies;
#[cfg(test)]
mod samples;
mod uncaptured;

pub use authorization::{Authorization, Decision, PolicyOfPort, PolicySet, RuleName, RuleOfPort};
pub use caller::{Caller, NetworkError, network};
pub use document::{
    Action, AppliedConfig, AuthorizationPolicy, DocumentKind, DocumentName, Documents, Operation, PeerAuthentication,
    PolicyConfig, PortMode, Rule, Scope, Source,
};
pub use links::FromLinks;
pub use pattern::{Pattern, PatternError};
pub use policies::Policies;
