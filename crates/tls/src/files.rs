//! Paths of certificate and key files. All files are PEM.

use std::path::PathBuf;

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub private_key: PathBuf,
    /// CAs that verify clients: a certificate of any of them is accepted. When there is one, a client without a
    /// certificate is refused. When there is none, no client certificate is requested.
    pub client_ca: Vec<PathBuf>,
}

/// The files of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// CA that verifies servers.
    pub ca: PathBuf,
    /// The client's certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub private_key: PathBuf,
}
