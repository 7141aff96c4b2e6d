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
use boshy_identity::{
    BACK_DATED, BoshAgents, CertificateAuthority, Claim, Csr, KnownKey, Leaf, NotAttested, Register, WorkloadNames,
    attest_vouched,
};
use boshy_mesh::{MeshSnapshot, Timestamp};
use boshy_state::{Format, ReadError, SealError, StateFileError};
use boshy_supervision::Heart;
use boshy_xds::{CertificateRequest, Refusal, RefusalKind};
use err_report::Report;
use tokio::sync::watch;
use tracing::info;

use crate::{
    identity_desk::{Asked, IdentityDesk, Requests, ShownCertificate},
    succession::{StandingNow, Succession},
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
    /// Who trusts the authority, which matters while there is one before it. `None` when it has expired.
    pub(crate) standing: Option<StandingNow>,
    /// The time of day.
    pub(crate) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
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
    let mut authorities = Succession::open(&parts.settings, parts.standing.clone(), (parts.now)());
    let mut requests = parts.requests.lock().await;
    let (mut written, trouble) = match parts.restore().await {
        Ok(register) => (Some(register), None),
        Err(error) => (None, Some(Report::new(&error).to_string())),
    };
    let authority = authorities.authority((parts.now)());
    let closed = authority.as_ref().err().map(|error| Report::new(error).to_string());
    parts.show(authority.ok(), written.as_ref(), closed.or(trouble));
    loop {
        let mut batch = Vec::new();
        if heart.rest(requests.recv_many(&mut batch, BATCH)).await == 0 {
            return;
        }
        let now = (parts.now)();
        authorities.look(now);
        parts.desk.follows(&authorities);
        // Agents report all the time, and nearly always the key that is known.
        batch.retain(|asked| !matches!(asked, Asked::Shown(shown) if parts.learned(written.as_ref(), shown).is_none()));
        if batch.is_empty() {
            continue;
        }
        match authorities.authority(now) {
            Ok(authority) => parts.decide(authority, &mut written, batch, &heart).await,
            Err(error) => {
                let text = Report::new(&error).to_string();
                parts.show(None, written.as_ref(), Some(text.clone()));
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
        let (now, snapshot) = ((self.now)(), self.snapshot.borrow().clone());
        let mut register = before.clone();
        let (mut grants, mut allowed) = (Vec::new(), Vec::new());
        for asked in batch {
            match asked {
                Asked::AnotherKey(instance, answer) => allowed.push((register.forget(&instance), instance, answer)),
                Asked::Shown(shown) => {
                    if let Some((agent_id, known)) = self.learned(Some(&register), &shown) {
                        info!(instance = known.instance, "a VM has shown a key that another pilot has certified");
                        register.record(&agent_id, known);
                    }
                }
                Asked::Certificate(request, answer) => {
                    match self.grant(authority, &register, &snapshot, &request, now) {
                        Ok(grant) => {
                            register.record(&grant.agent_id, grant.known.clone());
                            grants.push((request, answer, grant));
                        }
                        Err(refusal) => drop(answer.send(Err(refusal))),
                    }
                }
            }
            heart.beat();
        }
        forget(&mut register, &snapshot, now);
        let (register, trouble) = self.keep(before, register).await;
        let is_kept = trouble.is_none();
        self.show(Some(authority), Some(&register), trouble);
        for (keys, instance, answer) in allowed {
            info!(instance, keys, is_kept, "an operator lets an instance have another key");
            let _ = answer.send(if is_kept { Ok(keys) } else { Err(not_kept()) });
        }
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
        let attested = match (&self.settings.bosh_agents, presented) {
            (Some(agents), None) => attest_vouched(workload, &vouched(agents, request, &csr, now)?),
            _ => register.attest(claim),
        };
        let agent_id = attested.map_err(|error| not_attested(&error))?.to_owned();
        let end = Timestamp(now.0.saturating_add(self.life(request).as_secs()).min(authority.end().0));
        let issuer = Some(authority.described().issuer.fingerprint.clone());
        let known = KnownKey { instance: workload.id.clone(), key: csr.key_hash(), issued: now, end, issuer };
        Ok(Grant { agent_id, names, csr, known })
    }

    /// The key that a VM has shown at its own address, with its agent id, if that is not known.
    fn learned(&self, register: Option<&Register>, shown: &ShownCertificate) -> Option<(String, KnownKey)> {
        let ShownCertificate { from, workload: certified, issuer } = shown;
        let snapshot = self.snapshot.borrow().clone();
        let workload = &snapshot.content.workloads.at(*from)?.workload;
        let agent_id = workload.agent_id.as_deref().filter(|_| workload.id == certified.instance())?;
        let (from, end) = certified.valid;
        let issued = Timestamp(from.0.saturating_add(BACK_DATED.as_secs()));
        let known = KnownKey { instance: workload.id.clone(), key: certified.key, issued, end, issuer: issuer.clone() };
        register?.lacks(agent_id, &known).then(|| (agent_id.to_owned(), known))
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
        match boshy_state::replace_in_time(&self.file, move || seal(&content)).await {
            Ok(()) => (register, None),
            Err(error) => (before, Some(Report::new(&FileTrouble::from(error)).to_string())),
        }
    }

    async fn restore(&self) -> Result<Register, FileTrouble> {
        boshy_state::read(&self.file, unseal).await.map(Option::unwrap_or_default).map_err(|error| match error {
            ReadError::File(error) => error.into(),
            ReadError::Refused(source) => FileTrouble::Refused { file: self.file.clone(), source },
        })
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
        let end = authority.map(CertificateAuthority::end);
        self.desk.stands(end, written.cloned().unwrap_or_default(), trouble.map(|reason| (reason, remedy)));
    }
}

/// Encodes the register as a file.
pub(crate) fn seal(register: &Register) -> Vec<u8> {
    FORMAT.seal_json(register)
}

/// Decodes a file.
///
/// # Errors
/// When it is foreign, newer or damaged.
pub(crate) fn unseal(file: &[u8]) -> Result<Register, SealError> {
    FORMAT.unseal_json(file)
}

/// The agent id of the VM whose BOSH agent vouches for a request.
fn vouched(agents: &BoshAgents, request: &CertificateRequest, csr: &Csr, now: Timestamp) -> Result<String, Refusal> {
    let refused = |reason, text| Refusal { kind: RefusalKind::Denied, reason, text };
    let none = "the VM sends no proof of its BOSH agent; set the property `attestation` of its virtual-ip-agent";
    let proof = request.proof.as_deref().ok_or_else(|| refused("no_proof", none.to_owned()))?;
    let vm = agents.vm_of(proof, csr.key_hash(), now);
    vm.map_err(|error| refused("bad_proof", format!("the proof of the VM's BOSH agent {}", Report::new(&error))))
}

fn forget(register: &mut Register, snapshot: &MeshSnapshot, now: Timestamp) {
    let plans = snapshot.content.workloads.iter();
    let listed: std::collections::HashSet<_> = plans.filter_map(|plan| plan.workload.agent_id.as_deref()).collect();
    register.prune(|agent_id| listed.contains(agent_id), now);
}

fn refuse_all(batch: Vec<Asked>, refusal: &Refusal) {
    for asked in batch {
        match asked {
            Asked::Shown(_) => {}
            Asked::Certificate(_, answer) => drop(answer.send(Err(refusal.clone()))),
            Asked::AnotherKey(_, answer) => drop(answer.send(Err(refusal.clone()))),
        }
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
        NotAttested::AnotherVm { .. } => (RefusalKind::Denied, "another_vm"),
        _ => (RefusalKind::Denied, "another_key"),
    };
    Refusal { kind, reason, text: error.to_string() }
}

#[cfg(test)]
#[path = "certificate_authority_tests.rs"]
mod tests;
