//! Who asks for resources.

use std::sync::Arc;

use boshy_mesh::NodeId;
use boshy_tls::subject;
use rustls_pki_types::CertificateDer;
use serde::Serialize;

/// The proxy on a stream.
///
/// Any client can send any node id. So what only one VM may have, such as a key, is decided by the identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node id in its first request.
    pub node: NodeId,
    /// What its connection proves. `None` without TLS.
    pub identity: Option<Identity>,
}

/// What a verified client certificate says about its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Subject of the certificate, such as `CN=boshy-agent`.
    pub subject: Arc<str>,
}

impl Identity {
    /// The identity in a certificate that a trusted CA has issued.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self { subject: subject(certificate).into() }
    }
}
