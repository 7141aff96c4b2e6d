//! Paths of certificate and key files. All files are PEM.

use std::path::PathBuf;

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub private_key: PathBuf,
    /// CA that verifies clients. When set, a client without a certificate is refused. When not set, no client
    /// certificate is requested.
    pub client_ca: Option<PathBuf>,
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
