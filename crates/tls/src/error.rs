//! Errors of certificate and key files.

use std::{io, path::PathBuf};

use rustls_pki_types::pem;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", file.display())]
pub struct FileError {
    /// Setting that names the file: `certificate_file`, `private_key_file`, `ca_file` or `client_ca_file`.
    pub key: &'static str,
    /// Path of the file.
    pub file: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: Reason,
}

impl FileError {
    /// Whether reading the same file may succeed a moment later, because the process or the disk was at fault and not
    /// the file.
    pub(crate) fn is_passing(&self) -> bool {
        use io::ErrorKind as Kind;
        let Reason::Unreadable(error) = &self.reason else { return false };
        // These last until the file or a directory above it changes, and such a change is noticed.
        !matches!(
            error.kind(),
            Kind::NotFound | Kind::PermissionDenied | Kind::IsADirectory | Kind::NotADirectory | Kind::InvalidInput
        )
    }
}

/// What is wrong with a file. No text contains any part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It is missing, or reading is not permitted.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is not PEM text.
    #[error("is not valid PEM")]
    Pem(#[source] BadPem),
    /// It contains no certificate.
    #[error("holds no PEM certificate")]
    NoCertificate,
    /// It contains no private key.
    #[error("holds no PEM private key (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// Its content cannot be used.
    #[error("cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The key belongs to another certificate.
    #[error("does not belong to the certificate in {}", .0.display())]
    KeyOfAnother(PathBuf),
    /// A certificate in it cannot act as a certificate authority.
    #[error("cannot be used to verify certificates")]
    NoAuthority(#[source] rustls::client::VerifierBuilderError),
}

/// What is wrong with a PEM text. The parser's own error repeats the faulty line, which contains the key when a file
/// has lost its line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPem {
    /// A `BEGIN` line that does not end in dashes.
    #[error("a BEGIN line is not whole; are the line breaks lost?")]
    Begin,
    /// A `BEGIN` line without its `END` line.
    #[error("a BEGIN line has no END line; are the line breaks lost?")]
    End,
    /// The text between the two lines is not base64.
    #[error("a section is not valid base64")]
    Base64,
    /// Any other error.
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
