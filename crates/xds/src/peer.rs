//! Who asks for resources.

use std::sync::Arc;

use boshy_identity::{Leaf, LeafError, TrustBundle};
use boshy_mesh::{NodeId, SpiffeId, Timestamp, TrustDomain};
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

/// What a proxy can be given, by what its connection proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Its VM has a certificate of the mesh: it reaches services through tunnels, and accepts some.
    Certified,
    /// Its VM has none yet: it reaches services in plaintext, and not those that accept tunnels only.
    Plain,
}

impl Peer {
    /// The workload whose certificate it has shown.
    pub fn workload(&self) -> Option<&WorkloadIdentity> {
        self.identity.as_ref()?.workload.as_ref()
    }

    /// Its scope.
    pub fn scope(&self) -> Scope {
        if self.workload().is_some() { Scope::Certified } else { Scope::Plain }
    }
}

/// What a verified client certificate says about its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Subject of the certificate, such as `CN=boshy-agent`. Empty in a workload's certificate.
    pub subject: Arc<str>,
    /// The workload that it names, when a root of workloads has issued it. `None` for the certificate that all agents of
    /// a deployment share, whatever names are in it.
    pub workload: Option<WorkloadIdentity>,
}

/// The names in a workload's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkloadIdentity {
    /// Names the instance group.
    pub spiffe_id: SpiffeId,
    /// Names the instance: `INSTANCE-ID.TRUST-DOMAIN`.
    pub dns_name: Arc<str>,
}

/// Whose certificates name workloads.
#[derive(Clone, Debug)]
pub struct WorkloadTrust {
    /// The mesh's trust domain.
    pub domain: TrustDomain,
    /// Roots of the certificates of workloads.
    pub roots: TrustBundle,
}

/// Why a client's certificate is refused although a root of workloads has issued it. It could be anybody's, so it does
/// not count as a deployment's either.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWorkload {
    /// It does not have the form of a workload's certificate.
    #[error("a root of workloads has issued the client's certificate, which {0}")]
    Form(#[from] LeafError),
    /// It belongs to another mesh.
    #[error("the client's certificate is of the trust domain {0}")]
    Domain(TrustDomain),
    /// It names no instance.
    #[error("the client's certificate names no instance: it has no DNS SAN")]
    NoInstance,
}

impl Identity {
    /// The identity in a certificate that a trusted CA has issued. Which CA it was decides what it may say.
    pub(crate) fn of(
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        trust: Option<&WorkloadTrust>,
        now: Timestamp,
    ) -> Result<Self, NoWorkload> {
        let subject = subject(certificate).into();
        let trust = trust.filter(|trust| trust.roots.verify(certificate, issuers, now).is_ok());
        let workload = trust.map(|trust| WorkloadIdentity::of(certificate, &trust.domain)).transpose()?;
        Ok(Self { subject, workload })
    }
}

impl WorkloadIdentity {
    fn of(certificate: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Self, NoWorkload> {
        let Leaf { spiffe_id, dns_name, .. } = Leaf::from_der(certificate)?;
        if spiffe_id.domain() != domain {
            return Err(NoWorkload::Domain(spiffe_id.domain().clone()));
        }
        Ok(Self { spiffe_id, dns_name: dns_name.ok_or(NoWorkload::NoInstance)?.into() })
    }
}
