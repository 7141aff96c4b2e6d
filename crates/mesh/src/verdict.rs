//! What becomes of a connection between two workloads, and why, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Caller, Decision, DocumentName, Fallback, InboundPort, Ingress, MtlsMode, PolicySet, SnapshotContent, SpiffeError,
    SpiffeId, TrustDomain, network,
};

/// What becomes of a connection to a port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who calls: an identity, an address, or both.
    pub from: String,
    /// The host and port that are called.
    pub to: String,
    /// What the port accepts.
    pub mode: MtlsMode,
    /// What the policies say.
    pub policies: Answer,
    /// What they would say if those on trial were enforced; `null` when none is.
    pub trial: Option<Answer>,
    /// Why the policies do not bind everybody; `null` when they do.
    pub unenforced: Option<String>,
}

/// What policies say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether the connection is made.
    pub allowed: bool,
    /// Why, in words.
    pub reason: String,
    /// The documents that decide.
    pub documents: Vec<DocumentName>,
    /// Line of the rule that decides; `null` when none matches, and for a link.
    pub line: Option<u32>,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Neither form of a caller.
    #[error("{0:?} is no caller: write DEPLOYMENT/GROUP, spiffe://TRUST_DOMAIN/ns/DEPLOYMENT/sa/GROUP or an address")]
    Form(String),
    /// The answer depends on the caller's address.
    #[error("policies for {0} name addresses of callers: ask with the address of one")]
    Address(String),
    /// A caller who cannot exist.
    #[error(transparent)]
    Caller(#[from] SpiffeError),
    /// The target is no host and port.
    #[error("{0:?} is no target: write HOST:PORT, such as mysql.db.shop.boshy:3306")]
    Target(String),
    /// A host that is not in the mesh.
    #[error("there is no service {0:?} in the mesh")]
    Service(String),
    /// A port that the service does not expose.
    #[error("{host} does not expose port {port}")]
    Port {
        /// The service.
        host: String,
        /// The number.
        port: u16,
    },
    /// A service without an instance, which no policy is applied to yet.
    #[error("{0} has no instance, so nobody reaches it")]
    Instances(String),
}

/// A caller as people write it: `DEPLOYMENT/GROUP` of the mesh's own trust domain, an identity, or an address. Who has the
/// address of an instance has its identity, too.
///
/// # Errors
/// When it is none of these, or has a name that no identity has.
pub fn caller(written: &str, domain: &TrustDomain, content: &SnapshotContent) -> Result<Caller, QuestionError> {
    if written.starts_with("spiffe://") {
        return Ok(written.parse::<SpiffeId>()?.into());
    }
    if let Ok(address) = network(written) {
        let workload = content.workloads.at(address.addr()).filter(|_| address == address.addr().into());
        let identity = workload.and_then(|plan| SpiffeId::of(domain, &plan.workload).ok());
        return Ok(Caller { identity, address: Some(address) });
    }
    match written.split_once('/') {
        Some((deployment, group)) if !group.contains('/') => Ok(SpiffeId::new(domain, deployment, group)?.into()),
        _ => Err(QuestionError::Form(written.to_owned())),
    }
}

impl Verdict {
    /// What becomes of a connection to `HOST:PORT`.
    ///
    /// # Errors
    /// When the mesh has no such port.
    pub fn of(content: &SnapshotContent, from: &Caller, to: &str) -> Result<Self, QuestionError> {
        let target = || QuestionError::Target(to.to_owned());
        let (host, port) = to.rsplit_once(':').ok_or_else(target)?;
        let port: u16 = port.parse().map_err(|_| target())?;
        let port = inbound(content, host, port)?;
        let answered = |caller: &Caller, policies, trial| Self {
            from: caller.to_string(),
            to: to.to_owned(),
            mode: port.mode,
            policies,
            trial,
            unenforced: unenforced(port).map(str::to_owned),
        };
        let (caller, rules) = match (&from.identity, port.mode) {
            (None, MtlsMode::Strict) => return Ok(answered(from, Answer::closed(), None)),
            // Without mutual TLS, no certificate is shown.
            (None, _) | (_, MtlsMode::Disable) => (Caller { identity: None, ..from.clone() }, &port.plaintext),
            (Some(_), _) => (from.clone(), &port.authorization),
        };
        let rules = rules.as_deref();
        if caller.address.is_none() && rules.is_some_and(|rules| rules.networks().next().is_some()) {
            return Err(QuestionError::Address(to.to_owned()));
        }
        let decided = |rules: &PolicySet| Answer::of(&rules.decide(&caller));
        let enforced = rules.map_or_else(|| Answer::of(&Decision::Unrestricted), |rules| decided(&rules.enforced));
        let shown = if caller.address.is_some() { &caller } else { from };
        Ok(answered(shown, enforced, rules.and_then(|rules| rules.trial.as_ref()).map(decided)))
    }
}

/// The port at the first instance of a service. All instances of a service have the same rules.
fn inbound<'c>(content: &'c SnapshotContent, host: &str, port: u16) -> Result<&'c InboundPort, QuestionError> {
    let plan = content.service(host).ok_or_else(|| QuestionError::Service(host.to_owned()))?;
    if plan.service.ports.iter().all(|exposed| exposed.number != port) {
        return Err(QuestionError::Port { host: host.to_owned(), port });
    }
    let ports = plan.service.endpoints.iter().filter_map(|endpoint| {
        let workload = content.workloads.at(endpoint.ip)?;
        workload.inbound.iter().find(|inbound| inbound.at == (endpoint.ip, port).into())
    });
    ports.into_iter().next().ok_or_else(|| QuestionError::Instances(host.to_owned()))
}

fn unenforced(port: &InboundPort) -> Option<&'static str> {
    let by_address = port.ingress.filter(|_| port.plaintext.is_some());
    match (port.mode, by_address.map(|Ingress { fallback, .. }| fallback)) {
        (MtlsMode::Strict, _) => None,
        (_, Some(Fallback::Closed)) => Some("in plaintext, policies that name addresses are enforced, and no others"),
        (_, Some(Fallback::Open)) => Some(
            "in plaintext, policies that name addresses are enforced, and no others; none is while Envoy is dead, and by IPv6",
        ),
        (MtlsMode::Permissive, None) => Some("anybody may connect in plaintext, because the port is PERMISSIVE"),
        (MtlsMode::Disable, None) => {
            Some("no policy is enforced, because the port is DISABLE: all connections are plaintext")
        }
    }
}

impl Answer {
    fn closed() -> Self {
        let reason = "denied: the port is STRICT, so that nobody outside of the mesh reaches it".to_owned();
        Self { allowed: false, reason, documents: Vec::new(), line: None }
    }

    fn of(decision: &Decision) -> Self {
        let (documents, line) = match decision {
            Decision::Unrestricted => (Vec::new(), None),
            Decision::Allowed(rule) | Decision::Denied(rule) => {
                (vec![rule.document.clone()], (rule.position.line > 0).then_some(rule.position.line))
            }
            Decision::NotAllowed(documents) => (documents.clone(), None),
        };
        Self { allowed: decision.is_allowed(), reason: decision.to_string(), documents, line }
    }
}

/// Some lines: the verdict, its reason, and what else there is to know.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, mode, policies, trial, unenforced } = self;
        let word = if policies.allowed { "allowed" } else { "denied" };
        write!(f, "{word}: {from} -> {to} ({mode})\n{}", policies.reason)?;
        if let Some(trial) = trial {
            write!(f, "\nwith the policies on trial: {}", trial.reason)?;
        }
        if let Some(reason) = unenforced {
            write!(f, "\nnote: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
