//! Keeps this VM's certificate: asks a pilot for the first one and for each next one, and keeps it with its key on disk.
//!
//! ```text
//!   disk ── restore ──> Held ──> Envoy (secrets), connections to the pilot, status
//!    ^                   │ ^
//!    └── key, then chain ┘ └── chain <── a pilot <── request for the key
//! ```
//!
//! A key is on disk before it is asked with, and what is asked with is decided by [`Held`]. A disk that takes nothing
//! leaves the key in use, whose certificate is renewed, and a VM without one stays without. Whatever is held is served
//! until there is something better, also when it has expired.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use boshy_backoff::{Backoff, Retries};
use boshy_identity::{Leaf, PrivateKey, csr_for};
use boshy_mesh::Timestamp;
use boshy_supervision::Heart;
use boshy_tls::ClientTls;
use boshy_xds::agent::ExchangeStatus;
use err_report::Report;
use futures::future::BoxFuture;
use secrecy::ExposeSecret;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tracing::{debug, info, warn};

use crate::held_identity::{Held, Issued, Key};

/// Configuration and channels of the keeper; they outlive the task.
#[derive(Clone)]
pub(crate) struct IdentityKeeperParts {
    /// Path of the file.
    pub(crate) file: PathBuf,
    /// Id of this VM's instance.
    pub(crate) id: String,
    /// Whom to ask.
    pub(crate) authority: Arc<dyn Authority>,
    /// Where the certificate is presented.
    pub(crate) tls: Option<ClientTls>,
    /// The time of day.
    pub(crate) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// When to try again.
    pub(crate) pace: Pace,
    /// What is held. This task is the only writer.
    pub(crate) held: watch::Sender<Arc<Held>>,
    /// What stands in the way. This task is the only writer.
    pub(crate) trouble: Arc<ArcSwap<Trouble>>,
    /// The stream to a pilot. A pilot that is connected anew may have an authority, or another one.
    pub(crate) exchange: watch::Receiver<ExchangeStatus>,
    /// A pilot says that its authority has taken over from the one that has issued the certificate in use.
    pub(crate) renew: Arc<Notify>,
}

/// Whoever answers requests for certificates.
pub(crate) trait Authority: Send + Sync {
    /// Asks for a certificate by a PEM request. `latest` is the certificate in use, PEM.
    fn certify(&self, csr: String, latest: Option<String>) -> BoxFuture<'_, Result<Vec<String>, Unanswered>>;
}

/// Why a request has no certificate as its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// No pilot has an authority: the mesh has no identities.
    NoAuthority,
    /// A pilot said no, or what it said cannot be used.
    Refused(Failure),
    /// No pilot could be asked, or none had time.
    Away(Failure),
}

/// When to try again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// After an attempt that failed.
    pub(crate) retry: Backoff,
    /// Longest time between two looks at the clock, which may jump.
    pub(crate) look: Duration,
    /// While pilots have no authority.
    pub(crate) without_authority: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry: Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(120), jitter: 0.5 },
            look: Duration::from_secs(60),
            without_authority: Duration::from_secs(3600),
        }
    }
}

/// What stands in the way of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Why there is no certificate, or no newer one.
    pub(crate) unanswered: Option<Unanswered>,
    /// Why what is held is not on disk.
    pub(crate) unkept: Option<String>,
}

impl Unanswered {
    /// What an operator is shown.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::NoAuthority => None,
            Self::Refused(failure) | Self::Away(failure) => Some(failure),
        }
    }
}

impl Trouble {
    /// What the VM lacks for its identity. A pilot that is away is no want of this kind before the certificate's last
    /// quarter, and a mesh without authority is none at all.
    pub(crate) fn want(&self, leaf: Option<&Leaf>, now: Timestamp) -> Option<Failure> {
        let last = self.unanswered.as_ref().and_then(Unanswered::failure).cloned();
        let ending = leaf.filter(|leaf| leaf.alarm_at() <= now);
        match (ending, &self.unanswered) {
            (Some(leaf), _) => Some(Failure {
                reason: format!(
                    "the VM's certificate {} and has not been renewed: {}",
                    if leaf.not_after < now {
                        "has expired".to_owned()
                    } else {
                        format!("ends at {}", leaf.not_after.0)
                    },
                    last.as_ref().map_or("no pilot has an authority", |last| last.reason.as_str())
                ),
                remedy: last.map_or_else(
                    || "Give the pilots back their authority (`identity`).".to_owned(),
                    |last| last.remedy,
                ),
            }),
            (None, Some(Unanswered::Refused(failure))) => Some(failure.clone()),
            (None, _) => self.unkept.as_ref().map(|reason| Failure {
                reason: format!("{reason}; so the VM gets no new key"),
                remedy: "Make the agent's `state_dir` writable for the agent, with room on the disk.".to_owned(),
            }),
        }
    }
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Why it failed.
    pub(crate) reason: String,
    /// What an operator can do.
    pub(crate) remedy: String,
}

impl Failure {
    pub(crate) fn of(error: &dyn std::error::Error, remedy: impl Into<String>) -> Self {
        Self { reason: Report::new(error).to_string(), remedy: remedy.into() }
    }
}

/// What an earlier process has kept, which is also presented from now on.
pub(crate) async fn restore(file: &Path, tls: &ClientTls) -> Held {
    match boshy_state::read(file, Held::unseal).await {
        Ok(held) => {
            let held = held.unwrap_or_default();
            present(&held, Some(tls));
            held
        }
        Err(error) => {
            let error = Report::new(&error).to_string();
            warn!(file = %file.display(), error, "beginning without the kept identity");
            Held::default()
        }
    }
}

/// Presents the held certificate to pilots while it is valid.
fn present(held: &Held, tls: Option<&ClientTls>) {
    let (Some(issued), Some(tls)) = (held.issued(), tls) else { return };
    let (secrets, leaf) = (issued.secrets(), &issued.leaf);
    let valid = leaf.not_before.0..=leaf.not_after.0;
    if let Err(error) = tls.present(&secrets.certificates, secrets.private_key.expose_secret(), valid) {
        warn!(error = Report::new(&error).to_string(), "the VM's own certificate is not presented to pilots");
    }
}

/// Keeps the identity, forever.
pub(crate) async fn keep(parts: IdentityKeeperParts, heart: Heart) {
    let mut keeper =
        Keeper { retries: Retries::new(parts.pace.retry), refusals: 0, answered: None, is_wanted: false, parts };
    loop {
        let rest = keeper.turn(&heart).await;
        heart.rest(keeper.wait(rest)).await;
    }
}

fn authority_of(status: &ExchangeStatus) -> Option<&str> {
    status.told.as_ref()?.authority.as_deref()
}

struct Keeper {
    parts: IdentityKeeperParts,
    retries: Retries,
    /// Refusals in a row.
    refusals: u32,
    /// The authority of which a pilot told when it issued the certificate in use.
    answered: Option<String>,
    /// Whether a pilot wants the certificate to be renewed before it is due.
    is_wanted: bool,
}

/// How long to wait for the next turn.
#[derive(Clone, Debug)]
enum Rest {
    For(Duration),
    /// Or until a stream to a pilot opens.
    OrStream(Duration),
    /// Or until a pilot tells of another authority than this one.
    OrAuthority(Duration, Option<String>),
}

impl Keeper {
    async fn turn(&mut self, heart: &Heart) -> Rest {
        let (held, now) = (self.held(), (self.parts.now)());
        if self.parts.trouble.load().unkept.is_some() {
            self.write(&held).await;
        }
        let (due, told) = (held.ask_at(), self.told_authority());
        if now < due && !mem::take(&mut self.is_wanted) && !self.is_replaced(&held, told.as_deref()) {
            return Rest::OrAuthority(self.parts.pace.look.min(Duration::from_secs(due.0 - now.0)), told);
        }
        let Some(key) = self.key(&held, now).await else { return Rest::For(self.retries.failed()) };
        match heart.rest(self.ask(&held, key)).await {
            Ok(issued) => {
                self.answered = told;
                self.adopt(issued).await;
                // Also when the authority ends in a moment, and the certificate with it.
                Rest::For(self.parts.pace.retry.first)
            }
            Err(Unanswered::NoAuthority) => {
                self.told(Some(Unanswered::NoAuthority));
                Rest::OrStream(self.parts.pace.without_authority)
            }
            Err(unanswered) => Rest::For(self.failed(unanswered)),
        }
    }

    async fn wait(&mut self, rest: Rest) {
        match rest {
            Rest::For(time) => sleep(time).await,
            Rest::OrStream(time) => {
                let since = self.parts.exchange.borrow().since;
                let opened = |status: &ExchangeStatus| status.pilot.is_some() && status.since != since;
                tokio::select! {
                    () = sleep(time) => {}
                    Ok(_) = self.parts.exchange.wait_for(opened) => {}
                }
            }
            Rest::OrAuthority(time, before) => {
                let is_another = |status: &ExchangeStatus| authority_of(status) != before.as_deref();
                tokio::select! {
                    () = sleep(time) => {}
                    Ok(_) = self.parts.exchange.wait_for(is_another) => {}
                    () = self.parts.renew.notified() => self.is_wanted = true,
                }
            }
        }
    }

    /// The authority of the pilot of the stream.
    fn told_authority(&self) -> Option<String> {
        authority_of(&self.parts.exchange.borrow()).map(str::to_owned)
    }

    /// Whether the pilot would issue the certificate with other issuers or roots than it has. Who asks for each such
    /// pilot once does not go back and forth between pilots that differ.
    fn is_replaced(&self, held: &Held, told: Option<&str>) -> bool {
        let Some((issued, told)) = held.issued().zip(told) else { return false };
        issued.authority != told && self.answered.as_deref() != Some(told)
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.parts.held.borrow())
    }

    /// The key to ask with, which is on disk. `None` when there is none and the disk takes none.
    async fn key(&self, held: &Held, now: Timestamp) -> Option<Arc<PrivateKey>> {
        match held.key_to_ask_with(self.refusals, now) {
            Key::Held(key) => Some(key),
            Key::New => {
                let made = PrivateKey::generate().map_err(|error| warn!(%error, "no new private key")).ok();
                let with_new = held.asking_with(Arc::new(made?));
                match self.write(&with_new).await {
                    true => {
                        let key = with_new.key_to_ask_with(0, now);
                        self.parts.held.send_replace(Arc::new(with_new));
                        if let Key::Held(key) = key { Some(key) } else { None }
                    }
                    false => held.current_key(),
                }
            }
        }
    }

    async fn ask(&self, held: &Held, key: Arc<PrivateKey>) -> Result<Issued, Unanswered> {
        let refused = |error: &dyn std::error::Error, remedy| Unanswered::Refused(Failure::of(error, remedy));
        let csr = csr_for(&key).map_err(|error| refused(&error, "Restart the agent."))?;
        let latest = held.issued().map(|issued| issued.chain().leaf_pem().to_owned());
        let answer = self.parts.authority.certify(csr, latest).await?;
        Issued::checked(key, answer, &self.parts.id, (self.parts.now)())
            .map_err(|error| refused(&error, "Set the clocks of this VM and of the pilot right; see the pilot's log."))
    }

    /// Serves a certificate from now on. It is served whatever the disk does: its key is on disk.
    async fn adopt(&mut self, issued: Issued) {
        let leaf = &issued.leaf;
        let (id, until, serial) = (leaf.spiffe_id.to_string(), leaf.not_after.0, leaf.serial.clone());
        info!(id, serial, until, renewed_at = issued.renew_at.0, "this VM has a certificate");
        let held = Arc::new(Held::having(issued));
        present(&held, self.parts.tls.as_ref());
        self.parts.held.send_replace(Arc::clone(&held));
        self.refusals = 0;
        self.retries.succeeded();
        self.told(None);
        self.write(&held).await;
    }

    fn failed(&mut self, unanswered: Unanswered) -> Duration {
        debug!(?unanswered, "no certificate");
        self.refusals += u32::from(matches!(unanswered, Unanswered::Refused(_)));
        self.told(Some(unanswered));
        self.retries.failed()
    }

    fn told(&self, unanswered: Option<Unanswered>) {
        let unkept = self.parts.trouble.load().unkept.clone();
        self.parts.trouble.store(Arc::new(Trouble { unanswered, unkept }));
    }

    /// Writes what is held. Returns whether it is on disk.
    async fn write(&self, held: &Held) -> bool {
        let content = held.seal();
        let written = boshy_state::replace_in_time(&self.parts.file, move || content).await;
        let unkept = written.err().map(|error| Report::new(&error).to_string());
        let kept = unkept.is_none();
        let before = self.parts.trouble.load();
        self.parts.trouble.store(Arc::new(Trouble { unkept, unanswered: before.unanswered.clone() }));
        kept
    }
}

#[cfg(test)]
#[path = "identity_keeper_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
