//! What a VM's BOSH agent vouches for: the hardened proof of which VM asks.
//!
//! ```text
//!   the director's CA of its agents
//!     └─> certificate of the VM's BOSH agent: CN=AGENT-ID.agent.bosh-internal      root's alone
//!           └─> certificate of a new key                     (Voucher, made by root before the agent starts)
//!                 └─> certificate of the key of a request    (proof, made by the agent for each request)
//! ```
//!
//! BOSH gives each VM one secret of its own: the key with which its agent connects to the director. Only root can read
//! it, and boshy's agent is not root. So root signs a new key with it, and hands that to the agent. The statements have
//! the form of certificates. The issuers are no certificate authorities, so nothing else accepts them, and
//! [`BoshAgents`] verifies each link itself.

use boshy_mesh::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::X509Certificate;

use crate::{
    AuthorityError, BACK_DATED, BundleError, Csr, KeyHash, NotTrusted, TrustBundle, authority::date,
    bundle::certificates, signer::Signer, x509,
};

/// How long after it was made a proof is accepted, in seconds: an agent makes one for each request.
const PROOF_LIFE: u64 = 3600;
/// End of the common name of a BOSH agent's certificate. An agent id has no dot, so the credentials of a VM's first boot,
/// `AGENT-ID.bootstrap.agent.bosh-internal`, which have travelled through the IaaS, are others.
const OF_AGENT: &str = ".agent.bosh-internal";

/// A key that the VM's BOSH agent vouches for, with its certificate and the BOSH agent's.
pub struct Voucher {
    key: KeyPair,
    certificates: Vec<CertificateDer<'static>>,
}

/// Why there is no voucher or no proof. No text contains any part of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VoucherError {
    /// The BOSH agent's certificate cannot be read.
    #[error("the BOSH agent's certificate {0}")]
    Certificate(#[source] BundleError),
    /// It is not the certificate of a VM.
    #[error("the BOSH agent's certificate {0}")]
    NotAnAgent(#[from] NotAnAgent),
    /// The BOSH agent's key cannot be used.
    #[error("the BOSH agent's private key cannot be used")]
    Key(#[source] AuthorityError),
    /// It belongs to another certificate.
    #[error("the BOSH agent's private key does not belong to its certificate")]
    KeyOfAnother,
    /// The text of a voucher cannot be read.
    #[error("is no voucher: a PEM private key and two PEM certificates")]
    Form,
    /// Signing failed, or the system gives no random numbers.
    #[error("a statement cannot be signed")]
    CannotSign,
}

/// A certificate that is not that of a VM's BOSH agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("({0}) has not exactly one common name of the form AGENT-ID.agent.bosh-internal")]
pub struct NotAnAgent(String);

/// Why a proof does not say which VM asks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotVouched {
    /// It is not three certificates.
    #[error("is not three PEM certificates: of the request's key, of a voucher, of the VM's BOSH agent")]
    Form,
    /// It was made for another request.
    #[error("is for another key than the request's")]
    AnotherKey,
    /// A link is not signed by the next one.
    #[error("has a certificate that the next one has not signed")]
    Signature,
    /// A link is not valid at this time.
    #[error("has expired, or is not valid yet; compare the clocks of the VM and of the pilot")]
    NotNow,
    /// The director's CA has not issued the BOSH agent's certificate, or it has expired.
    #[error("has a certificate of a BOSH agent that the CA of the director's agents does not vouch for: {0}")]
    NotTrusted(#[from] NotTrusted),
    /// The last certificate is the director's, or that of a VM's first boot.
    #[error("has a certificate that {0}")]
    NotAnAgent(#[from] NotAnAgent),
}

impl Voucher {
    /// Signs a new key with that of the VM's BOSH agent. Both texts are PEM, as in the BOSH agent's settings. It is
    /// good for as long as the BOSH agent's certificate.
    ///
    /// # Errors
    /// When the texts are not those of a VM's BOSH agent.
    pub fn issue(certificate: &str, private_key: &SecretString, now: Timestamp) -> Result<Self, VoucherError> {
        let all = certificates(certificate).map_err(VoucherError::Certificate)?;
        let own = all.into_iter().next().ok_or(VoucherError::Certificate(BundleError::Empty))?;
        let read = x509::certificate(&own).ok_or(VoucherError::Certificate(BundleError::NotACertificate(1)))?;
        agent_id(&read)?;
        let signer = Signer::from_pem(private_key.expose_secret()).map_err(VoucherError::Key)?;
        if signer.hash() != KeyHash::of(read.public_key().raw) {
            return Err(VoucherError::KeyOfAnother);
        }
        let key = KeyPair::generate().map_err(|_| VoucherError::CannotSign)?;
        let end = x509::timestamp(read.validity().not_after);
        let issuer = Issuer::from_ca_cert_der(&own, signer).map_err(|_| VoucherError::CannotSign)?;
        let vouched = state(&key, &issuer, now, end).ok_or(VoucherError::CannotSign)?;
        Ok(Self { key, certificates: vec![vouched, own] })
    }

    /// Reads what [`Voucher::to_pem`] has written.
    ///
    /// # Errors
    /// When it is no voucher.
    pub fn from_pem(text: &str) -> Result<Self, VoucherError> {
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| VoucherError::Form)?;
        let key = KeyPair::try_from(&der).map_err(|_| VoucherError::Form)?;
        let certificates = certificates(text).map_err(|_| VoucherError::Form)?;
        if certificates.len() == 2 { Ok(Self { key, certificates }) } else { Err(VoucherError::Form) }
    }

    /// The key and both certificates as PEM text.
    pub fn to_pem(&self) -> SecretString {
        let certificates: String = self.certificates.iter().map(|der| x509::pem(der)).collect();
        (self.key.serialize_pem() + &certificates).into()
    }

    /// States that a request is the VM's: three PEM certificates, of the request's key first.
    ///
    /// # Errors
    /// When signing fails.
    pub fn proof(&self, request: &Csr, now: Timestamp) -> Result<String, VoucherError> {
        let end = Timestamp(now.0.saturating_add(PROOF_LIFE));
        let issuer = Issuer::from_ca_cert_der(&self.certificates[0], &self.key).map_err(|_| VoucherError::Form)?;
        let stated = state(request.key(), &issuer, now, end).ok_or(VoucherError::CannotSign)?;
        Ok([&stated].into_iter().chain(&self.certificates).map(|der| x509::pem(der)).collect())
    }
}

impl std::fmt::Debug for Voucher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voucher")
            .field("key", &KeyHash::of(&self.key.subject_public_key_info()))
            .finish_non_exhaustive()
    }
}

/// A statement by an issuer about a key.
fn state<S: rcgen::SigningKey>(
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, S>,
    now: Timestamp,
    end: Timestamp,
) -> Option<CertificateDer<'static>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "boshy-voucher");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date(now.0.saturating_sub(BACK_DATED.as_secs()))?;
    params.not_after = date(end.0)?;
    Some(params.signed_by(key, issuer).ok()?.der().clone())
}

/// The CA of a director's BOSH agents, by which VMs prove who they are.
#[derive(Clone, Debug)]
pub struct BoshAgents(TrustBundle);

impl BoshAgents {
    /// Reads the CA, PEM; several while the director's is replaced.
    ///
    /// # Errors
    /// When there is none, or one of them is no certificate authority.
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        TrustBundle::from_pem(text).map(Self)
    }

    /// The agent id of the VM whose BOSH agent vouches for a request's key.
    ///
    /// # Errors
    /// When none does.
    pub fn vm_of(&self, proof: &str, key: KeyHash, now: Timestamp) -> Result<String, NotVouched> {
        let all = certificates(proof).map_err(|_| NotVouched::Form)?;
        let read: Option<Vec<_>> = all.iter().map(|der| x509::certificate(der)).collect();
        let [request, voucher, agent] = &read.ok_or(NotVouched::Form)?[..] else { return Err(NotVouched::Form) };
        if KeyHash::of(request.public_key().raw) != key {
            return Err(NotVouched::AnotherKey);
        }
        for (stated, issuer) in [(request, voucher), (voucher, agent)] {
            stated.verify_signature(Some(issuer.public_key())).map_err(|_| NotVouched::Signature)?;
            let validity = stated.validity();
            if !(x509::timestamp(validity.not_before)..=x509::timestamp(validity.not_after)).contains(&now) {
                return Err(NotVouched::NotNow);
            }
        }
        self.0.verify(&all[2], &[], now)?;
        Ok(agent_id(agent)?)
    }
}

/// The agent id in a BOSH agent's certificate.
fn agent_id(certificate: &X509Certificate<'_>) -> Result<String, NotAnAgent> {
    let names: Vec<_> = certificate.subject().iter_common_name().map(|name| name.as_str().ok()).collect();
    let id = match names[..] {
        [Some(name)] => name.strip_suffix(OF_AGENT).filter(|id| !id.is_empty() && !id.contains('.')),
        _ => None,
    };
    id.map(str::to_owned).ok_or_else(|| NotAnAgent(certificate.subject().to_string()))
}
