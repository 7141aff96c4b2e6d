//! Who asks for resources.

use std::sync::Arc;

use boshy_identity::{KeyHash, Leaf, LeafError, NotTrusted, TrustBundle};
use boshy_mesh::{NodeId, SpiffeId, Timestamp, TrustDomain, Workload};
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

/// A proxy asks for what belongs to another VM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node {node} is on the VM of instance {instance}, and the certificate is that of {certified}")]
pub struct NotItsOwn {
    /// The node id.
    node: NodeId,
    /// Id of the instance that has the node's address.
    instance: String,
    /// The DNS name in the certificate.
    certified: Arc<str>,
}

impl Peer {
    /// Checks that the workload that has the node's address is the one that the certificate names. A proxy without a
    /// workload's certificate is not checked: it gets nothing that is secret.
    ///
    /// # Errors
    /// When the certificate is another workload's.
    pub fn owns(&self, workload: &Workload) -> Result<(), NotItsOwn> {
        match self.workload() {
            Some(certified) if certified.instance() != workload.id => Err(NotItsOwn {
                node: self.node.clone(),
                instance: workload.id.clone(),
                certified: Arc::clone(&certified.dns_name),
            }),
            _ => Ok(()),
        }
    }

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
    /// The key, which the handshake has proven.
    #[serde(skip)]
    pub key: KeyHash,
    /// First and last second at which the certificate is valid.
    #[serde(skip)]
    pub valid: (Timestamp, Timestamp),
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
    /// It has expired, for example.
    #[error("a root of workloads has issued the client's certificate, which cannot be verified")]
    Unverified(#[from] NotTrusted),
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
        let Some(trust) = trust else { return Ok(Self { subject, workload: None }) };
        let workload = match trust.roots.verify(certificate, issuers, now) {
            Ok(()) => Some(WorkloadIdentity::of(certificate, &trust.domain)?),
            Err(error) if error.is_of_another_issuer() => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { subject, workload })
    }
}

impl WorkloadIdentity {
    /// The instance's id. No id has a dot.
    pub fn instance(&self) -> &str {
        self.dns_name.split_once('.').map_or(&*self.dns_name, |(id, _)| id)
    }

    fn of(certificate: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Self, NoWorkload> {
        let Leaf { spiffe_id, dns_name, key, not_before, not_after, .. } = Leaf::from_der(certificate)?;
        if spiffe_id.domain() != domain {
            return Err(NoWorkload::Domain(spiffe_id.domain().clone()));
        }
        let dns_name = dns_name.ok_or(NoWorkload::NoInstance)?.into();
        Ok(Self { spiffe_id, dns_name, key, valid: (not_before, not_after) })
    }
}

#[cfg(test)]
mod tests {
    use boshy_identity::PrivateKey;

    use super::*;

    #[test]
    fn a_certificate_is_good_for_the_vm_of_its_own_instance_alone() {
        let spiffe_id: SpiffeId = "spiffe://boshy/ns/shop/sa/web".parse().unwrap();
        let (key, valid) = (PrivateKey::generate().unwrap().hash(), (Timestamp(0), Timestamp(1)));
        let workload = WorkloadIdentity { spiffe_id, dns_name: "one.boshy".into(), key, valid };
        let identity = Identity { subject: "".into(), workload: Some(workload) };
        let certified = Peer { node: NodeId::sidecar([10, 0, 0, 1].into(), "x", "x"), identity: Some(identity) };
        let instance = |id: &str| Workload { id: id.into(), ..Workload::default() };
        assert_eq!(certified.owns(&instance("one")), Ok(()));
        let error = certified.owns(&instance("two")).unwrap_err().to_string();
        let wanted =
            "the node sidecar~10.0.0.1~x~x is on the VM of instance two, and the certificate is that of one.boshy";
        assert_eq!(error, wanted);
        assert!(certified.owns(&instance("not.a.label")).is_err());

        let shared = Peer { identity: Some(Identity { subject: "CN=agent".into(), workload: None }), ..certified };
        assert_eq!(shared.owns(&instance("two")), Ok(()));
    }
}
