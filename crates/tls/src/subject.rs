//! Who a certificate speaks of.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The subject of a certificate, such as `CN=agent, O=boshy` (RFC 4514, in the certificate's order); empty when it has none, or
/// cannot be read.
pub fn subject(certificate: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(certificate).map_or_else(|_| String::new(), |(_, read)| read.subject().to_string())
}
