//! Decides about requests for certificates, and issues them.
//!
//! ```text
//!   xDS server ── IdentityDesk ──> decide each ──> write the keys once ──> issue each ──> answers
//!                                  (snapshot)      (file `identities`)
//! ```
//!
//! Requests that wait are decided together, because a key is on disk before it is answered for, and a disk takes
//! milliseconds. A disk that refuses costs those a certificate whose key it does not have.

use std::{path::PathBuf, sync::Arc};

use boshy_config::IdentitySettings;
use boshy_identity::{CertificateAuthority, Claim, Csr, KnownKey, Leaf, NotAttested, Register, WorkloadNames};
use boshy_mesh::{MeshSnapshot, Timestamp};
use boshy_state::{Format, SealError, StateFileError};
use boshy_supervision::Heart;
use boshy_xds::{CertificateRequest, Refusal, RefusalKind};
use err_report::Report;
use tokio::sync::watch;
use tracing::info;

use crate::{
    clock,
    identity_desk::{Asked, IdentityDesk, Requests},
};

const FORMAT: Format = Format { name: "boshy-identities", version: 1 };
/// Requests that are decided together.
const BATCH: usize = 256;

/// What the authority is made of; it outlives the task.
#[derive(Clone)]
pub(crate) struct CertificateAuthorityParts {
    /// Settings of the authority.
    pub(crate) settings: IdentitySettings,
    /// File with the keys of each VM.
    pub(crate) file: PathBuf,
    /// The director's facts.
    pub(crate) snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    /// Where requests wait.
    pub(crate) requests: Requests,
    /// Where its status is shown.
    pub(crate) desk: IdentityDesk,
}

/// Why the file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
enum FileTrouble {
    /// It cannot be read or written.
    #[error("keep the keys of VMs")]
    File(#[from] StateFileError),
    /// It is damaged, or of a newer version. It is not replaced: an empty one would accept any key.
    #[error("{} {source}", file.display())]
    Refused { file: PathBuf, source: SealError },
}

/// A request that is granted.
struct Grant {
    agent_id: String,
    names: WorkloadNames,
    csr: Csr,
    known: KnownKey,
}

/// Serves requests until their channel is closed.
pub(crate) async fn serve(parts: CertificateAuthorityParts, heart: Heart) {
    let opened = parts.settings.open(clock::now());
    let closed = opened.as_ref().err().map(|error| Report::new(error).to_string());
    let authority = opened.ok();
    let mut requests = parts.requests.lock().await;
    let mut written = None;
    parts.show(authority.as_ref(), None, closed.clone());
    loop {
        let mut batch = Vec::new();
        if heart.rest(requests.recv_many(&mut batch, BATCH)).await == 0 {
            return;
        }
        match &authority {
            Some(authority) => parts.decide(authority, &mut written, batch, &heart).await,
            None => {
                let text = closed.clone().unwrap_or_default();
                refuse_all(batch, &Refusal { kind: RefusalKind::Unavailable, reason: "authority_expired", text });
            }
        }
    }
}

impl CertificateAuthorityParts {
    /// Decides about requests that came together. `written` is the register on disk, once it was read.
    async fn decide(
        &self,
        authority: &CertificateAuthority,
        written: &mut Option<Register>,
        batch: Vec<Asked>,
        heart: &Heart,
    ) {
        let before = match written.take() {
            Some(before) => before,
            None => match self.restore().await {
                Ok(register) => register,
                Err(error) => return self.shut(authority, &error, batch),
            },
        };
        let (now, snapshot) = (clock::now(), self.snapshot.borrow().clone());
        let mut register = before.clone();
        let mut grants = Vec::new();
        for Asked { request, answer } in batch {
            match self.grant(authority, &register, &snapshot, &request, now) {
                Ok(grant) => {
                    register.record(&grant.agent_id, grant.known.clone());
                    grants.push((request, answer, grant));
                }
                Err(refusal) => drop(answer.send(Err(refusal))),
            }
            heart.beat();
        }
        forget(&mut register, &snapshot, now);
        let (register, trouble) = self.keep(before, register).await;
        self.show(Some(authority), Some(&register), trouble);
        for (request, answer, grant) in grants {
            let is_kept = register.get(&grant.agent_id).is_some_and(|known| known.key == grant.known.key);
            let issued = if is_kept { self.issue(authority, &request, &grant, now) } else { Err(not_kept()) };
            let _ = answer.send(issued);
            heart.beat();
            // Signing takes up to some milliseconds, and others are on this thread.
            tokio::task::yield_now().await;
        }
        *written = Some(register);
    }

    /// Decides about one request.
    fn grant(
        &self,
        authority: &CertificateAuthority,
        register: &Register,
        snapshot: &MeshSnapshot,
        request: &CertificateRequest,
        now: Timestamp,
    ) -> Result<Grant, Refusal> {
        let csr = Csr::from_pem(&request.csr).map_err(|error| {
            let text = format!("the certificate request {}", Report::new(&error));
            Refusal { kind: RefusalKind::Invalid, reason: "bad_request", text }
        })?;
        if snapshot.generation == 0 {
            let text = "the director was not read yet".to_owned();
            return Err(Refusal { kind: RefusalKind::Unavailable, reason: "not_ready", text });
        }
        let plan = snapshot.content.workloads.at(request.from).ok_or_else(|| {
            let text = format!("the director lists no instance with the address {}", request.from);
            Refusal { kind: RefusalKind::Denied, reason: "unknown_address", text }
        })?;
        let workload = &*plan.workload;
        let names = WorkloadNames::of(&self.settings.trust_domain, workload).map_err(|error| Refusal {
            kind: RefusalKind::Denied,
            reason: "name",
            text: error.to_string(),
        })?;
        let latest = request.latest.as_deref().and_then(|pem| authority.bundle().leaf_of_any_time(pem).ok());
        let presented = request.identity.workload.as_ref().map(|workload| &*workload.dns_name);
        let claim = Claim { workload, names: &names, presented, key: csr.key_hash(), latest: latest.as_ref() };
        let agent_id = register.attest(claim).map_err(|error| not_attested(&error))?.to_owned();
        let end = Timestamp(now.0.saturating_add(self.life(request).as_secs()).min(authority.end().0));
        let known = KnownKey { instance: workload.id.clone(), key: csr.key_hash(), issued: now, end };
        Ok(Grant { agent_id, names, csr, known })
    }

    fn issue(
        &self,
        authority: &CertificateAuthority,
        request: &CertificateRequest,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Vec<String>, Refusal> {
        let issued = authority.issue(&grant.csr, &grant.names, self.life(request), now);
        let chain = issued.map_err(|error| {
            let text = error.to_string();
            Refusal { kind: RefusalKind::Unavailable, reason: "authority_expired", text }
        })?;
        let serial = Leaf::from_pem(chain.leaf_pem()).map(|leaf| leaf.serial).unwrap_or_default();
        let (address, spiffe_id, instance) = (request.from, &grant.names.spiffe_id, &grant.known.instance);
        info!(%address, %spiffe_id, instance, serial, "issued a certificate");
        self.desk.issued();
        Ok(chain.texts().to_vec())
    }

    /// A shorter life than the settings' is given to who wants it.
    fn life(&self, request: &CertificateRequest) -> std::time::Duration {
        request.life.map_or(self.settings.leaf_life, |life| life.min(self.settings.leaf_life))
    }

    /// Writes a register that has changed. Returns the one on disk, and why it is not the new one.
    async fn keep(&self, before: Register, register: Register) -> (Register, Option<String>) {
        if before == register {
            return (before, None);
        }
        let content = register.clone();
        match boshy_state::replace_in_time(&self.file, move || FORMAT.seal_json(&content)).await {
            Ok(()) => (register, None),
            Err(error) => (before, Some(Report::new(&FileTrouble::from(error)).to_string())),
        }
    }

    async fn restore(&self) -> Result<Register, FileTrouble> {
        let Some(content) = boshy_state::read(&self.file).await? else { return Ok(Register::default()) };
        FORMAT.unseal_json(&content).map_err(|source| FileTrouble::Refused { file: self.file.clone(), source })
    }

    /// Refuses all while the file cannot be read.
    fn shut(&self, authority: &CertificateAuthority, error: &FileTrouble, batch: Vec<Asked>) {
        self.show(Some(authority), None, Some(Report::new(error).to_string()));
        refuse_all(batch, &not_kept());
    }

    fn show(&self, authority: Option<&CertificateAuthority>, written: Option<&Register>, trouble: Option<String>) {
        let remedy = match authority {
            None => {
                "Renew the CA of `identity` and deploy the pilot; workloads keep their certificates until they end."
                    .to_owned()
            }
            Some(_) => format!(
                "Make {} readable and writable for the pilot, or move it away to accept the next key of each VM.",
                self.file.display()
            ),
        };
        let known = written.map_or(0, Register::len);
        self.desk.stands(authority.map(CertificateAuthority::end), known, trouble.map(|reason| (reason, remedy)));
    }
}

fn forget(register: &mut Register, snapshot: &MeshSnapshot, now: Timestamp) {
    let plans = snapshot.content.workloads.iter();
    let listed: std::collections::HashSet<_> = plans.filter_map(|plan| plan.workload.agent_id.as_deref()).collect();
    register.prune(|agent_id| listed.contains(agent_id), now);
}

fn refuse_all(batch: Vec<Asked>, refusal: &Refusal) {
    for Asked { answer, .. } in batch {
        let _ = answer.send(Err(refusal.clone()));
    }
}

fn not_kept() -> Refusal {
    let text = "the pilot cannot keep the key on its disk; ask again later".to_owned();
    Refusal { kind: RefusalKind::Unavailable, reason: "disk", text }
}

fn not_attested(error: &NotAttested) -> Refusal {
    let (kind, reason) = match error {
        NotAttested::NoAgentId(_) => (RefusalKind::Unavailable, "no_agent_id"),
        NotAttested::AnotherInstance { .. } => (RefusalKind::Denied, "another_instance"),
        _ => (RefusalKind::Denied, "another_key"),
    };
    Refusal { kind, reason, text: error.to_string() }
}

#[cfg(test)]
#[path = "certificate_authority_tests.rs"]
mod tests;
