//! Whose certificates a client trusts.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// A text without a certificate that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCa(String);

/// A TLS configuration that trusts only the certificates of a PEM text, or none. It speaks HTTP/1.1, and shows no
/// certificate of its own.
///
/// # Errors
/// When the text has no certificate, or one that cannot be trusted.
pub fn trusting(ca: Option<&str>) -> Result<Arc<ClientConfig>, BadCa> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(ca.map(roots).transpose()?.unwrap_or_else(RootCertStore::empty))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(ca: &str) -> Result<RootCertStore, BadCa> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| BadCa(error.to_string()))?;
        roots.add(certificate).map_err(|error| BadCa(error.to_string()))?;
    }
    if roots.is_empty() { Err(BadCa("it holds no certificate".to_owned())) } else { Ok(roots) }
}
