//! Which files there are. All are PEM.

use std::path::PathBuf;

use crate::{ClientTls, FileError, ServerTls};

/// The files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, followed by those between it and the CA.
    pub certificate: PathBuf,
    /// The key to it.
    pub private_key: PathBuf,
    /// Who vouches for clients. With it, a client without a certificate is refused; without it, none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// The files of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// Who vouches for servers.
    pub ca: PathBuf,
    /// Its certificate, followed by those between it and the CA.
    pub certificate: PathBuf,
    /// The key to it.
    pub private_key: PathBuf,
}

impl ServerFiles {
    /// Tries whether they can be used.
    ///
    /// # Errors
    /// The first file that cannot.
    pub fn check(&self) -> Result<(), FileError> {
        ServerTls::open(self.clone(), &[]).map(drop)
    }
}

impl ClientFiles {
    /// Tries whether they can be used.
    ///
    /// # Errors
    /// The first file that cannot.
    pub fn check(&self) -> Result<(), FileError> {
        ClientTls::open(self.clone(), &[]).map(drop)
    }
}
