//! Secrets: what Envoy proves its VM's identity with, and what it verifies others by.
//!
//! The certificate and its key are one secret, so that Envoy never combines those of two identities.

use envoy_types::pb::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{CertificateValidationContext, Secret, TlsCertificate, secret::Type},
};
use prost::Message;
use secrecy::{ExposeSecret, SecretString};

use super::tls::{CERTIFICATE, ROOTS};
use crate::Resource;

/// Texts in PEM that only this VM has, for its own Envoy.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The VM's certificate, then its issuers below the root.
    pub certificates: String,
    /// The private key of the certificate.
    pub private_key: SecretString,
    /// Roots of the certificates that other VMs present.
    pub roots: String,
}

impl Secrets {
    /// The secrets as resources (`envoy.extensions.transport_sockets.tls.v3.Secret`).
    pub(crate) fn resources(&self) -> [Resource; 2] {
        let certificate = TlsCertificate {
            certificate_chain: Some(inline(&self.certificates)),
            private_key: Some(inline(self.private_key.expose_secret())),
            ..TlsCertificate::default()
        };
        [secret(CERTIFICATE, Type::TlsCertificate(certificate)), roots(&self.roots)]
    }
}

/// The secret by which Envoy verifies others: roots, PEM.
pub(crate) fn roots(pem: &str) -> Resource {
    let context =
        CertificateValidationContext { trusted_ca: Some(inline(pem)), ..CertificateValidationContext::default() };
    secret(ROOTS, Type::ValidationContext(context))
}

fn secret(name: &str, content: Type) -> Resource {
    let secret = Secret { name: name.to_owned(), r#type: Some(content) };
    Resource::new(name, secret.encode_to_vec())
}

fn inline(text: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineString(text.to_owned())), ..DataSource::default() }
}
