//! The pilots beside the stream to one of them: the authorities from which this VM gets its certificates, and the desks
//! to which it reports.

use std::{fs, path::PathBuf, sync::Arc};

use boshy_identity::{Csr, Voucher};
use boshy_mesh::AgentReport;
use boshy_tls::ClientTls;
use boshy_xds::agent::{
    CertificateWish, ExchangeError, ExchangeSettings, ExchangeStatus, PilotConnection, Refusal, Uri,
    request_certificate, send_report,
};
use err_report::Report;
use futures::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::{
    clock,
    identity_keeper::{Authority, Failure, Unanswered},
    reporter::Desk,
};

/// Pilots that are reached over TLS.
pub(crate) struct Pilots {
    /// In order of preference.
    pub(crate) all: Vec<Uri>,
    pub(crate) tls: ClientTls,
    pub(crate) settings: ExchangeSettings,
    /// File of what the VM's BOSH agent vouches for.
    pub(crate) voucher: Option<PathBuf>,
    /// The pilot of the stream is asked first.
    pub(crate) exchange: watch::Receiver<ExchangeStatus>,
}

impl Authority for Pilots {
    fn certify(&self, csr: String, latest: Option<String>) -> BoxFuture<'_, Result<Vec<String>, Unanswered>> {
        Box::pin(async move {
            let mut worst = Unanswered::NoAuthority;
            let proof = self.proof(&csr);
            for pilot in self.connected_first() {
                let wish =
                    CertificateWish { csr: &csr, life: None, latest: latest.as_deref(), proof: proof.as_deref() };
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
    /// What the VM's BOSH agent vouches for. A pilot that does not ask for it answers without it, too.
    fn proof(&self, csr: &str) -> Option<String> {
        let file = self.voucher.as_ref()?;
        let proof = fs::read_to_string(file).map_err(|error| error.to_string()).and_then(|text| {
            let voucher = Voucher::from_pem(&text).map_err(|error| Report::new(&error).to_string())?;
            let csr = Csr::from_pem(csr).map_err(|error| error.to_string())?;
            voucher.proof(&csr, clock::now()).map_err(|error| Report::new(&error).to_string())
        });
        let warned = proof.inspect_err(|error| {
            warn!(file = %file.display(), error, "asking for a certificate without a proof of the VM's BOSH agent");
        });
        warned.ok()
    }

    fn connected_first(&self) -> Vec<&Uri> {
        let connected = self.exchange.borrow().pilot.clone();
        let mut pilots: Vec<_> = self.all.iter().filter(|pilot| pilot.scheme_str() == Some("https")).collect();
        pilots.sort_by_key(|pilot| connected.as_ref() != Some(&pilot.to_string()));
        pilots
    }
}

/// One pilot, which takes reports; or all pilots that its name stands for.
pub(crate) struct PilotDesk {
    pub(crate) pilot: Uri,
    /// Where the pilot is reached over TLS.
    pub(crate) tls: Option<ClientTls>,
    pub(crate) settings: ExchangeSettings,
    /// Id of this VM's instance.
    pub(crate) instance: String,
    /// The connection of the stream, to whichever pilot. A report to that pilot goes over it.
    pub(crate) connection: watch::Receiver<Option<PilotConnection>>,
    /// Told when the pilot wants the VM to have another certificate.
    pub(crate) renew: Arc<Notify>,
}

impl PilotDesk {
    /// Returns whether a pilot knows this VM as an endpoint. One that does not take the report is an error, after all others
    /// were asked.
    async fn send(&self, report: &AgentReport) -> Result<bool, ExchangeError> {
        let of_stream = self.connection.borrow().clone().filter(|connection| connection.pilot == self.pilot);
        let known = of_stream.as_ref().map(|connection| connection.address);
        let mut called = match of_stream {
            Some(connection) => self.send_over(&connection, report).await,
            None => Ok(false),
        };
        for connection in PilotConnection::open_all(&self.pilot, known, self.tls.as_ref(), &self.settings).await? {
            let also = match connection {
                Ok(connection) => self.send_over(&connection, report).await,
                Err(error) => Err(error),
            };
            called = match (called, also) {
                (Ok(one), Ok(other)) => Ok(one || other),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        called
    }

    async fn send_over(&self, connection: &PilotConnection, report: &AgentReport) -> Result<bool, ExchangeError> {
        let reported = send_report(connection, &self.instance, report).await?;
        if reported.renew {
            self.renew.notify_one();
        }
        Ok(reported.is_called)
    }
}

impl Desk for PilotDesk {
    fn name(&self) -> String {
        self.pilot.to_string()
    }

    fn report(&self, report: AgentReport) -> BoxFuture<'_, Result<bool, Failure>> {
        Box::pin(async move { self.send(&report).await.map_err(|error| Failure::of(&error, error.remedy())) })
    }

    fn reopened(&self) -> BoxFuture<'_, ()> {
        let mut connection = self.connection.clone();
        connection.mark_unchanged();
        let is_this = |connection: &Option<PilotConnection>| {
            connection.as_ref().is_some_and(|connection| connection.pilot == self.pilot)
        };
        Box::pin(async move {
            while connection.changed().await.is_ok() {
                if is_this(&connection.borrow_and_update()) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        })
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
