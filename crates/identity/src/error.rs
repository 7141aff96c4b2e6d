//! Why there is no authority, and why it issues no certificate.

use crate::{BundleError, NotTrusted, WeakKey};

/// Why there is no authority. No text contains any part of a key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The certificate's text cannot be read.
    #[error("the CA certificate {0}")]
    Certificate(#[source] BundleError),
    /// The certificate may not issue others (RFC 5280 section 4.2.1.9).
    #[error("the certificate ({0}) is no certificate authority; BOSH makes one with `is_ca: true`")]
    NotAnAuthority(String),
    /// Its key usage lacks keyCertSign (RFC 5280 section 4.2.1.3).
    #[error("the CA certificate ({0}) may not sign certificates: its key usage lacks keyCertSign")]
    MayNotSign(String),
    /// The authority, or an issuer of it, has expired.
    #[error("the CA certificate or an issuer of it has expired, at {0} seconds after 1970 (UTC)")]
    Expired(u64),
    /// The private key's text cannot be read.
    #[error("the CA's private key is no PEM private key (PKCS#8, PKCS#1 or SEC1) of a kind that is known")]
    NoKey,
    /// The private key is too weak, or of a kind that not all peers accept.
    #[error("the CA's private key {0}")]
    WeakKey(#[source] WeakKey),
    /// The key belongs to another certificate.
    #[error("the CA's private key does not belong to the CA certificate")]
    KeyOfAnother,
    /// The roots' text cannot be used.
    #[error("the text of the roots: {0}")]
    Roots(#[source] BundleError),
    /// No root has issued the certificate.
    #[error("the CA certificate ({0}) is not a root, and none of the roots has issued it")]
    NoRoot(String),
    /// Its subject has a form that issued certificates would not repeat exactly.
    #[error("the CA certificate's subject ({0}) repeats an attribute or joins several, which is not supported")]
    Subject(String),
    /// Signing fails.
    #[error("the CA's private key cannot sign")]
    CannotSign,
    /// A certificate that it issues is not valid, for another reason.
    #[error("what the CA certificate issues cannot be verified: {0}")]
    Unusable(#[from] NotTrusted),
}

/// Why a certificate is not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The authority, or an issuer of it, has expired.
    #[error("the certificate authority has expired, at {0} seconds after 1970 (UTC)")]
    Expired(u64),
    /// Signing failed.
    #[error("the certificate authority's key cannot sign")]
    CannotSign,
}
