//! The pilots as an authority, from which this VM gets its certificates.

use boshy_tls::ClientTls;
use boshy_xds::agent::{
    CertificateWish, ExchangeError, ExchangeSettings, ExchangeStatus, Refusal, Uri, request_certificate,
};
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::identity_keeper::{Authority, Failure, Unanswered};

/// Pilots that are reached over TLS.
pub(crate) struct Pilots {
    /// In order of preference.
    pub(crate) all: Vec<Uri>,
    pub(crate) tls: ClientTls,
    pub(crate) settings: ExchangeSettings,
    /// The pilot of the stream is asked first.
    pub(crate) exchange: watch::Receiver<ExchangeStatus>,
}

impl Authority for Pilots {
    fn certify(&self, csr: String, latest: Option<String>) -> BoxFuture<'_, Result<Vec<String>, Unanswered>> {
        Box::pin(async move {
            let mut worst = Unanswered::NoAuthority;
            for pilot in self.connected_first() {
                let wish = CertificateWish { csr: &csr, life: None, latest: latest.as_deref() };
                match request_certificate(pilot, &self.tls, &self.settings, wish).await {
                    Ok(chain) => return Ok(chain),
                    Err(error) => worst = worse(worst, unanswered(&error)),
                }
            }
            Err(worst)
        })
    }
}

impl Pilots {
    fn connected_first(&self) -> Vec<&Uri> {
        let connected = self.exchange.borrow().pilot.clone();
        let mut pilots: Vec<_> = self.all.iter().filter(|pilot| pilot.scheme_str() == Some("https")).collect();
        pilots.sort_by_key(|pilot| connected.as_ref() != Some(&pilot.to_string()));
        pilots
    }
}

fn unanswered(error: &ExchangeError) -> Unanswered {
    let failure = Failure::of(error, error.remedy());
    match error.refusal() {
        Some(Refusal::NoAuthority) => Unanswered::NoAuthority,
        Some(Refusal::Refused) => Unanswered::Refused(failure),
        None => Unanswered::Away(failure),
    }
}

/// Of the answers of two pilots, the one that says more: a refusal, then that a pilot could not be asked.
fn worse(one: Unanswered, other: Unanswered) -> Unanswered {
    match (&one, &other) {
        (Unanswered::Refused(_), _) | (_, Unanswered::NoAuthority) | (Unanswered::Away(_), Unanswered::Away(_)) => one,
        _ => other,
    }
}
