//! What becomes of a connection between two workloads, and why, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Decision, DocumentName, InboundPort, MtlsMode, SnapshotContent, SpiffeError, SpiffeId, TrustDomain};

/// What becomes of a connection of a caller in the mesh to a port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Who calls.
    pub from: SpiffeId,
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
    /// Line of the rule that decides; `null` when none matches.
    pub line: Option<u32>,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Neither form of a caller.
    #[error("{0:?} is no caller: write DEPLOYMENT/GROUP or spiffe://TRUST_DOMAIN/ns/DEPLOYMENT/sa/GROUP")]
    Form(String),
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

/// A caller as people write it: `DEPLOYMENT/GROUP` of the mesh's own trust domain, or an identity.
///
/// # Errors
/// When it is neither, or has a name that no identity has.
pub fn caller(written: &str, domain: &TrustDomain) -> Result<SpiffeId, QuestionError> {
    if written.starts_with("spiffe://") {
        return Ok(written.parse()?);
    }
    match written.split_once('/') {
        Some((deployment, group)) if !group.contains('/') => Ok(SpiffeId::new(domain, deployment, group)?),
        _ => Err(QuestionError::Form(written.to_owned())),
    }
}

impl Verdict {
    /// What becomes of a connection to `HOST:PORT`.
    ///
    /// # Errors
    /// When the mesh has no such port.
    pub fn of(content: &SnapshotContent, from: SpiffeId, to: &str) -> Result<Self, QuestionError> {
        let target = || QuestionError::Target(to.to_owned());
        let (host, port) = to.rsplit_once(':').ok_or_else(target)?;
        let port: u16 = port.parse().map_err(|_| target())?;
        let InboundPort { mode, authorization, .. } = inbound(content, host, port)?;
        let enforced = authorization.as_ref().map_or(Decision::Unrestricted, |all| all.enforced.decide(&from));
        let trial = authorization.as_ref().and_then(|all| all.trial.as_ref()).map(|trial| trial.decide(&from));
        Ok(Self {
            from,
            to: to.to_owned(),
            mode: *mode,
            policies: Answer::of(&enforced),
            trial: trial.as_ref().map(Answer::of),
            unenforced: unenforced(*mode).map(str::to_owned),
        })
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

fn unenforced(mode: MtlsMode) -> Option<&'static str> {
    match mode {
        MtlsMode::Strict => None,
        MtlsMode::Permissive => Some("anybody may connect in plaintext, because the port is PERMISSIVE"),
        MtlsMode::Disable => Some("no policy is enforced, because the port is DISABLE: all connections are plaintext"),
    }
}

impl Answer {
    fn of(decision: &Decision) -> Self {
        let (documents, line) = match decision {
            Decision::Unrestricted => (Vec::new(), None),
            Decision::Allowed(rule) | Decision::Denied(rule) => (vec![rule.document.clone()], Some(rule.line)),
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
