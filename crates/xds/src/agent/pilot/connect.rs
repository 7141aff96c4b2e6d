//! Connects to a pilot: resolves its name, tries its addresses in turn, and runs the TLS handshake.
//!
//! The agent presents the certificate that it was issued, while there is one, and else that of its deployment.
//!
//! The system's resolver looks the name up for each attempt, because a pilot may be deployed, moved or removed while
//! agents run. Every error comes with a remedy for the operator.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_tls::ClientTls;
use err_report::Report;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::transport::Uri;

use super::{Avoided, Spread};

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The pilot's address has no host, or one that cannot be in a certificate.
    #[error("{0} is no address of a pilot")]
    Address(Uri),
    /// The name does not resolve at present.
    #[error("the name {host} does not resolve")]
    Name {
        /// The host name.
        host: String,
        /// The resolver's error.
        #[source]
        source: io::Error,
    },
    /// No address accepts a connection.
    #[error("{address} does not accept a connection")]
    Unreachable {
        /// The address tried last.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {address}")]
    Tls {
        /// The address tried last.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: rustls::Error,
    },
    /// The connection broke before the pilot sent anything.
    #[error("{address} broke the connection off")]
    Broken {
        /// The address tried last.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// Whether a pilot may have refused the client's certificate. What it cannot verify it refuses with an alert, and
    /// what names no workload of its mesh by ending the connection.
    fn may_be_of_the_certificate(&self) -> bool {
        match self {
            Self::Tls { source: rustls::Error::AlertReceived(_), .. } => true,
            Self::Broken { source, .. } => source.kind() != io::ErrorKind::TimedOut,
            _ => false,
        }
    }

    /// What an operator can do about it, in full sentences.
    pub fn remedy(&self) -> String {
        match self {
            Self::Address(_) => "Write the pilot in `pilots` as https://HOST:PORT.".to_owned(),
            Self::Name { host, .. } => format!(
                "Deploy the pilot with {host} as an alias of its link, or correct `pilots`; `dig {host}` on this VM shows what \
                 bosh-dns answers."
            ),
            Self::Unreachable { address, source } if source.kind() == io::ErrorKind::ConnectionRefused => {
                format!("Start the pilot on {address}, or correct the port in `pilots`.")
            }
            Self::Unreachable { address, .. } => {
                format!("Let this VM reach {address} (route, security group), or correct `pilots`.")
            }
            Self::Tls { source, .. } => of_tls(source).to_owned(),
            Self::Broken { .. } => {
                "Look at the pilot's log; if something stands between this VM and the pilot, let it pass TCP unchanged."
                    .to_owned()
            }
        }
    }
}

fn of_tls(error: &rustls::Error) -> &'static str {
    use AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "Renew the pilot's certificate (`xds.tls.certificate_file` of the pilot), or set this VM's clock right."
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "Set the clock of this VM or of the pilot right: the pilot's certificate is not valid yet."
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "Name the pilot in `pilots` as its certificate does, or add that name to the certificate's alternative names."
            }
            // A CA that was created anew has the old one's name and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "Give this agent the CA that issued the pilot's certificate (`pilot_tls.ca_file`)."
            }
            _ => "Give the pilot a certificate for servers (`xds.tls.certificate_file` of the pilot).",
        },
        rustls::Error::AlertReceived(Alert::CertificateExpired) => {
            "Renew this agent's certificate (`pilot_tls.certificate_file`), or set the pilot's clock right: by it the \
             certificate is not valid."
        }
        rustls::Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateRequired
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => {
            "Give this agent a certificate for clients (`pilot_tls.certificate_file`) of the CA that the pilot trusts \
             (`xds.tls.client_ca_file`)."
        }
        rustls::Error::InvalidMessage(_) => {
            "Give the pilot a certificate (`xds.tls`), or write http:// in `pilots`: it speaks without TLS."
        }
        _ => "Look at the pilot's log, which says why with this VM's address.",
    }
}

/// A plain or a TLS connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, and the address of the pilot.
pub(super) type Connected = (Box<dyn Io>, SocketAddr);

/// Connects to a pilot, at the address among its addresses that comes first in the order of the spread and accepts;
/// those that are avoided come last. Each step takes at most `patience`: the name lookup, and each address with its handshake.
pub(super) async fn connect(
    pilot: &Uri,
    (spread, avoided): (Spread, &Avoided),
    tls: Option<&ClientTls>,
    patience: Duration,
) -> Result<Connected, ConnectError> {
    let mut failed = None;
    for address in avoided.last(addresses(pilot, spread, patience).await?, Instant::now()) {
        match connect_at(pilot, address, tls, patience).await {
            Ok(connection) => return Ok((connection, address)),
            Err(error) => failed = Some(error),
        }
    }
    let no_address = || ConnectError::Name {
        host: pilot.host().unwrap_or_default().to_owned(),
        source: io::Error::new(io::ErrorKind::NotFound, "it has no address"),
    };
    Err(failed.unwrap_or_else(no_address))
}

/// The addresses of a pilot's name at present, in the order of the spread.
pub(super) async fn addresses(
    pilot: &Uri,
    spread: Spread,
    patience: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = host(pilot)?;
    let port = pilot.port_u16().unwrap_or(if is_secure(pilot) { 443 } else { 80 });
    let found = timeout(patience, lookup_host((host, port))).await.unwrap_or_else(|_| Err(slow()));
    let found = found.map_err(|source| ConnectError::Name { host: host.to_owned(), source })?;
    Ok(spread.ordered(found))
}

/// Connects to one address of a pilot. It takes at most `patience` for the connection and for the handshake, each.
pub(super) async fn connect_at(
    pilot: &Uri,
    address: SocketAddr,
    tls: Option<&ClientTls>,
    patience: Duration,
) -> Result<Box<dyn Io>, ConnectError> {
    if !is_secure(pilot) {
        return connect_to(address, None, patience).await;
    }
    let no_address = || ConnectError::Address(pilot.clone());
    let name = ServerName::try_from(host(pilot)?.to_owned()).map_err(|_| no_address())?;
    connect_securely(address, tls.ok_or_else(no_address)?, name, patience).await
}

fn host(pilot: &Uri) -> Result<&str, ConnectError> {
    let host = pilot.host().ok_or_else(|| ConnectError::Address(pilot.clone()))?;
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

fn is_secure(pilot: &Uri) -> bool {
    pilot.scheme_str() == Some("https")
}

/// Presents the agent's own certificate if there is one. A pilot may refuse it, because it trusts another authority or
/// has another trust domain by now, or has another time. Then the certificate of the files is presented, with which the
/// agent gets a new one.
async fn connect_securely(
    address: SocketAddr,
    tls: &ClientTls,
    name: ServerName<'static>,
    patience: Duration,
) -> Result<Box<dyn Io>, ConnectError> {
    if let Some(own) = tls.own() {
        match connect_to(address, Some((own, name.clone())), patience).await {
            Err(error) if error.may_be_of_the_certificate() => {
                let error = Report::new(&error);
                tracing::info!(%error, "the pilot refuses this VM's own certificate; presenting the deployment's");
            }
            ended => return ended,
        }
    }
    connect_to(address, Some((tls.of_files(), name)), patience).await
}

async fn connect_to(
    address: SocketAddr,
    identity: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    patience: Duration,
) -> Result<Box<dyn Io>, ConnectError> {
    let connected = timeout(patience, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(slow()));
    let socket = connected
        .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
        .map_err(|source| ConnectError::Unreachable { address, source })?;
    let Some((config, name)) = identity else { return Ok(Box::new(socket)) };
    let secured = async {
        let mut stream = BufReader::new(TlsConnector::from(config).connect(name, socket).await?);
        // In TLS 1.3, a client finishes its handshake before the server has checked its certificate. A server that
        // accepts the certificate begins HTTP/2, in which the server speaks first (RFC 9113 section 3.4). So waiting
        // for its first bytes reports a rejected certificate as such.
        match stream.fill_buf().await? {
            [] => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(stream),
        }
    };
    match timeout(patience, secured).await.unwrap_or_else(|_| Err(slow())) {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => ConnectError::Tls { address, source: error.clone() },
            None => ConnectError::Broken { address, source },
        }),
    }
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
