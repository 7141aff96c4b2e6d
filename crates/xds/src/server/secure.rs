//! Accepted sockets whose clients have presented a certificate.
//!
//! A connection takes a place of its address, so a slow one is cut for a newcomer. Once its client has spoken, its handshake
//! waits for its turn ([`Turns`]). Only the time in which the server waits for the client is limited.

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
    io::Interest,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    connection::{Accepted, Gate, pause},
    turns::Turns,
};
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
        if error.kind() == io::ErrorKind::TimedOut {
            return Self::Slow;
        }
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
    /// Time for a client to begin the handshake, and again to end it once it is its turn.
    pub patience: Duration,
}

impl Security {
    /// Allows ten seconds for either part of a handshake.
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
    turns: Turns,
    handshakes: JoinSet<Secured>,
}

/// Accepts connections from a TCP socket whose clients have presented a certificate, in the order in which their
/// handshakes finish.
pub(super) fn tls(
    listener: TcpListener,
    security: Security,
    gate: Gate,
) -> impl Stream<Item = Result<Accepted<TlsStream<TcpStream>>, Infallible>> + Send {
    let door = Door { listener, security, gate, turns: Turns::default(), handshakes: JoinSet::new() };
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
        let handshake = shake(self.security.clone(), self.gate.clone(), self.turns.clone(), socket, client, place);
        #[expect(clippy::disallowed_methods, reason = "`next` waits for it, and tells of its panic")]
        self.handshakes.spawn(handshake);
    }
}

async fn shake(
    security: Security,
    gate: Gate,
    turns: Turns,
    socket: TcpStream,
    client: SocketAddr,
    place: Place,
) -> Secured {
    let secured = tokio::select! {
        secured = secure(&security, &turns, socket) => secured,
        () = place.cut().cancelled() => {
            security.refuse(client, HandshakeFailure::TooMany, None);
            return None;
        }
    };
    match secured {
        Ok(stream) => {
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
        Err(error) => {
            security.refuse(client, HandshakeFailure::of(&error), Some(&error));
            None
        }
    }
}

async fn secure(security: &Security, turns: &Turns, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let slow = |_| io::Error::new(io::ErrorKind::TimedOut, "the client took too long");
    socket.set_nodelay(true)?;
    let left = || io::Error::from(io::ErrorKind::UnexpectedEof);
    if timeout(security.patience, socket.peek(&mut [0])).await.map_err(slow)?? == 0 {
        return Err(left());
    }
    let handshake = async {
        // For a client that has left meanwhile, nothing is signed.
        if socket.ready(Interest::READABLE).await?.is_read_closed() {
            return Err(left());
        }
        let accepted = TlsAcceptor::from(security.tls.current()).accept(socket);
        timeout(security.patience, accepted).await.map_err(slow)?
    };
    turns.run(handshake).await
}

#[cfg(test)]
#[path = "secure_tests.rs"]
mod tests;
