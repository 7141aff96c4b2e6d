//! Which authority issues certificates while a pilot has two: that of before, and the next one, whose root some agents
//! may not trust yet ([ADR 37](../../docs/adr/0037-succession-of-authorities.md)).

use std::sync::Arc;

use boshy_config::IdentitySettings;
use boshy_identity::{AuthorityError, CertificateAuthority};
use boshy_mesh::{HEARTBEAT, Timestamp, TrustStanding};

/// Who trusts the next authority now.
pub(crate) type StandingNow = Arc<dyn Fn() -> TrustStanding + Send + Sync>;

/// The authorities of one life of the task.
pub(crate) struct Succession {
    next: Result<CertificateAuthority, AuthorityError>,
    /// The one before, until the next one has taken over.
    before: Option<(CertificateAuthority, Watch)>,
}

/// When the next one takes over.
struct Watch {
    standing: StandingNow,
    /// By then, each agent that is alive has reported.
    heard: Timestamp,
}

impl Succession {
    /// Opens the authorities. Without `standing`, nothing is known of agents, and the next one issues.
    pub(crate) fn open(settings: &IdentitySettings, standing: Option<StandingNow>, now: Timestamp) -> Self {
        // One that has expired is of no use any more.
        let before = settings.open_previous(now).and_then(Result::ok);
        let heard = Timestamp(now.0 + 2 * HEARTBEAT.as_secs());
        let before = before.zip(standing.map(|standing| Watch { standing, heard }));
        Self { next: settings.open(now), before }
    }

    /// Looks whether the next authority may take over. It never goes back.
    pub(crate) fn look(&mut self, now: Timestamp) {
        let is_over = |(before, watch): &(CertificateAuthority, Watch)| before.end() <= now || watch.is_over(now);
        self.before = self.before.take().filter(|before| !is_over(before));
    }

    /// The authority that issues now.
    ///
    /// # Errors
    /// When there is none that is valid.
    pub(crate) fn authority(&self, now: Timestamp) -> Result<&CertificateAuthority, AuthorityError> {
        if let Some((before, _)) = &self.before {
            return Ok(before);
        }
        match &self.next {
            Ok(next) if now < next.end() => Ok(next),
            // It was good when the process began.
            Ok(next) => Err(AuthorityError::Expired(next.end().0)),
            Err(error) => Err(error.clone()),
        }
    }

    /// Whether the authority of before still issues.
    pub(crate) fn is_awaited(&self) -> bool {
        self.before.is_some()
    }

    /// Fingerprint of the next authority's certificate.
    pub(crate) fn next(&self) -> Option<String> {
        Some(self.next.as_ref().ok()?.described().issuer.fingerprint.clone())
    }
}

impl Watch {
    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.heard && (self.standing)().is_trusted_by_all()
    }
}
