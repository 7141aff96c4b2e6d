//! Paths of certificate and key files. All files are PEM.

use std::path::PathBuf;

use crate::{ClientTls, FileError, ServerTls};

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

impl ServerFiles {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn check(&self) -> Result<(), FileError> {
        ServerTls::open(self.clone(), &[]).map(drop)
    }
}

impl ClientFiles {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn check(&self) -> Result<(), FileError> {
        ClientTls::open(self.clone(), &[]).map(drop)
    }
}
