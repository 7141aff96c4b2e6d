//! Accepted sockets whose clients have presented a certificate.
//!
//! Handshakes run concurrently. Each has a time limit and takes a place of its address, so a slow one is cut for a
//! newcomer.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use boshy_admission::Place;
use boshy_tls::ServerTls;
use futures::{Stream, stream};
use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::CertificateDer;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::connection::{Accepted, Gate, pause};
use crate::{Identity, WorkloadTrust, clock, peer::NoWorkload};

/// Why a client's TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HandshakeFailure {
    /// It presented no certificate.
    NoCertificate,
    /// Its certificate was issued by another CA, is not a client certificate, or is damaged.
    Untrusted,
    /// Its certificate has expired or is not valid yet.
    Expired,
    /// It did not trust the server's certificate.
    Distrustful,
    /// The handshake took too long.
    Slow,
    /// The connection limit was reached: newer connections took its place, or the others are all busy.
    TooMany,
    /// It does not speak TLS, or it disconnected.
    NoTls,
}

impl HandshakeFailure {
    const ALL: [Self; 7] = [
        Self::NoCertificate,
        Self::Untrusted,
        Self::Expired,
        Self::Distrustful,
        Self::Slow,
        Self::TooMany,
        Self::NoTls,
    ];

    /// The reason's name in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::Distrustful => "distrustful",
            Self::Slow => "slow",
            Self::TooMany => "too_many",
            Self::NoTls => "no_tls",
        }
    }

    fn of(error: &io::Error) -> Self {
        use AlertDescription as Alert;
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::NoTls;
        };
        match error {
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Self::Expired,
            rustls::Error::InvalidCertificate(_) => Self::Untrusted,
            rustls::Error::AlertReceived(
                Alert::UnknownCA
                | Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnsupportedCertificate,
            ) => Self::Distrustful,
            _ => Self::NoTls,
        }
    }
}

/// Number of failed handshakes, by reason. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct HandshakeFailures(Arc<[AtomicU64; HandshakeFailure::ALL.len()]>);

impl HandshakeFailures {
    /// The counters now.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let count =
            |(failure, count): (&HandshakeFailure, &AtomicU64)| (failure.as_str(), count.load(Ordering::Relaxed));
        HandshakeFailure::ALL.iter().zip(self.0.iter()).map(count).collect()
    }

    fn count(&self, failure: HandshakeFailure) {
        self.0[failure as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A server's certificates, and the handling of clients without a trusted one.
#[derive(Clone, Debug)]
pub struct Security {
    /// Certificates of the server, and the CA of its clients.
    pub tls: ServerTls,
    /// Whose certificates name workloads, among the CAs of the clients. `None` while no certificate does.
    pub workloads: Option<WorkloadTrust>,
    /// Counters of failed handshakes.
    pub failures: HandshakeFailures,
    /// Time for a whole handshake.
    pub patience: Duration,
}

impl Security {
    /// Allows ten seconds for a handshake.
    pub fn new(tls: ServerTls, workloads: Option<WorkloadTrust>, failures: HandshakeFailures) -> Self {
        Self { tls, workloads, failures, patience: Duration::from_secs(10) }
    }

    fn identity(&self, own: &CertificateDer<'_>, issuers: &[CertificateDer<'_>]) -> Result<Identity, NoWorkload> {
        Identity::of(own, issuers, self.workloads.as_ref(), clock::now())
    }

    fn refuse(&self, client: SocketAddr, failure: HandshakeFailure, error: Option<&io::Error>) {
        self.failures.count(failure);
        let error = error.map(ToString::to_string);
        tracing::warn!(%client, reason = failure.as_str(), error, "refused a client of the ADS server");
    }
}

type Secured = Option<Accepted<TlsStream<TcpStream>>>;

struct Door {
    listener: TcpListener,
    security: Security,
    gate: Gate,
    handshakes: JoinSet<Secured>,
}

/// Accepts connections from a TCP socket whose clients have presented a certificate, in the order in which their
/// handshakes finish.
pub(super) fn tls(
    listener: TcpListener,
    security: Security,
    gate: Gate,
) -> impl Stream<Item = Result<Accepted<TlsStream<TcpStream>>, Infallible>> + Send {
    let door = Door { listener, security, gate, handshakes: JoinSet::new() };
    stream::unfold(door, async |mut door| {
        let connection = door.next().await;
        Some((Ok(connection), door))
    })
}

impl Door {
    async fn next(&mut self) -> Accepted<TlsStream<TcpStream>> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, client)) => self.receive(socket, client),
                    Err(error) => pause(&error).await,
                },
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(connection)) => return connection,
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "a handshake of the ADS server panicked"),
                }
            }
        }
    }

    fn receive(&mut self, socket: TcpStream, client: SocketAddr) {
        let Some(place) = self.gate.admit(Some(client.ip())) else {
            self.security.failures.count(HandshakeFailure::TooMany);
            return;
        };
        #[expect(clippy::disallowed_methods, reason = "`next` waits for it, and tells of its panic")]
        self.handshakes.spawn(shake(self.security.clone(), self.gate.clone(), socket, client, place));
    }
}

async fn shake(security: Security, gate: Gate, socket: TcpStream, client: SocketAddr, place: Place) -> Secured {
    let secured = async {
        socket.set_nodelay(true)?;
        TlsAcceptor::from(security.tls.current()).accept(socket).await
    };
    let secured = tokio::select! {
        secured = timeout(security.patience, secured) => secured,
        () = place.cut().cancelled() => {
            security.refuse(client, HandshakeFailure::TooMany, None);
            return None;
        }
    };
    match secured {
        Ok(Ok(stream)) => {
            let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::split_first);
            let identity = presented.map(|(own, issuers)| security.identity(own, issuers)).transpose();
            match identity {
                Ok(identity) => Some(gate.guard(stream, place, Some(client.ip()), identity)),
                Err(error) => {
                    security.refuse(client, HandshakeFailure::Untrusted, Some(&io::Error::other(error)));
                    None
                }
            }
        }
        Ok(Err(error)) => {
            security.refuse(client, HandshakeFailure::of(&error), Some(&error));
            None
        }
        Err(_) => {
            security.refuse(client, HandshakeFailure::Slow, None);
            None
        }
    }
}
