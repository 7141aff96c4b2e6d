//! Why files cannot be used.

use std::{io, path::PathBuf};

use rustls_pki_types::pem;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", file.display())]
pub struct FileError {
    /// Setting that names the file: `certificate_file`, `private_key_file`, `ca_file` or `client_ca_file`.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: Reason,
}

impl FileError {
    /// Whether the same file may be read well a moment later: the process or the disk was at fault, not the file.
    pub(crate) fn is_passing(&self) -> bool {
        use io::ErrorKind as Kind;
        let Reason::Unreadable(error) = &self.reason else { return false };
        // These last until somebody changes the file or a directory above it, and that is seen.
        !matches!(
            error.kind(),
            Kind::NotFound | Kind::PermissionDenied | Kind::IsADirectory | Kind::NotADirectory | Kind::InvalidInput
        )
    }
}

/// What is wrong with a file. No text has anything of a key in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It is not there, or may not be read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is no PEM text.
    #[error("is not valid PEM")]
    Pem(#[source] BadPem),
    /// It has no certificate in it.
    #[error("holds no PEM certificate")]
    NoCertificate,
    /// It has no private key in it.
    #[error("holds no PEM private key (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// What is in it cannot be used.
    #[error("cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The key is another certificate's.
    #[error("does not belong to the certificate in {}", .0.display())]
    KeyOfAnother(PathBuf),
    /// A certificate in it can vouch for nobody.
    #[error("cannot be used to verify certificates")]
    NoAuthority(#[source] rustls::client::VerifierBuilderError),
}

/// How a text fails to be PEM. Its reader's own error repeats the line at fault, which holds the key when a file has lost its line
/// breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPem {
    /// A `BEGIN` line that does not end in dashes.
    #[error("a BEGIN line is not whole; are the line breaks lost?")]
    Begin,
    /// Nothing ends what began.
    #[error("a BEGIN line has no END line; are the line breaks lost?")]
    End,
    /// What is between the two lines is no base64.
    #[error("a section is not valid base64")]
    Base64,
    /// Anything else.
    #[error("a section cannot be read")]
    Other,
}

impl From<pem::Error> for BadPem {
    fn from(error: pem::Error) -> Self {
        match error {
            pem::Error::IllegalSectionStart { .. } => Self::Begin,
            pem::Error::MissingSectionEnd { .. } => Self::End,
            pem::Error::Base64Decode(_) => Self::Base64,
            _ => Self::Other,
        }
    }
}
