//! The subject of a certificate.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The subject of a certificate, such as `CN=agent, O=boshy` (RFC 4514, in the certificate's order). Empty when the
/// certificate has no subject or cannot be parsed.
pub fn subject(certificate: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(certificate).map_or_else(|_| String::new(), |(_, read)| read.subject().to_string())
}
