//! The certificate authority.

use std::time::Duration;

use boshy_mesh::{MeshAuthority, SpiffeError, SpiffeId, Timestamp, TrustDomain, Workload};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData,
    SanType,
};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use x509_parser::prelude::X509Certificate;

use crate::{
    AuthorityError, BACK_DATED, Chain, Csr, IssueError, KeyHash, TrustBundle,
    bundle::certificates,
    chain::authority_fingerprint,
    path::Path,
    signer::Signer,
    x509::{self, PublicKey},
};

/// PEM texts that an authority consists of.
#[derive(Clone, Copy, Debug)]
pub struct AuthorityFiles<'a> {
    /// The certificate that issues, then its issuers if there are more than one below the root.
    pub certificate: &'a str,
    /// Its private key: RSA, P-256 or P-384 in PKCS#1, PKCS#8 or SEC1.
    pub private_key: &'a SecretString,
    /// Roots that workloads trust. Needed unless `certificate` is a root. More of them let workloads trust those that
    /// other authorities have issued.
    pub roots: Option<&'a str>,
}

impl AuthorityFiles<'_> {
    /// The roots that workloads trust, by which their certificates are verified, also when the authority has expired.
    ///
    /// # Errors
    /// When a text cannot be read, or holds no root.
    pub fn bundle(&self) -> Result<TrustBundle, AuthorityError> {
        let all = certificates(self.certificate).map_err(AuthorityError::Certificate)?;
        let path = Path::read(&all).map_err(AuthorityError::Certificate)?;
        Ok(path.bundle(self.roots)?.with(path.between()))
    }
}

/// Issues certificates of workloads.
#[derive(Debug)]
pub struct CertificateAuthority {
    issuer: Issuer<'static, Signer>,
    /// Certificates between a leaf and a root, as PEM texts.
    between: Vec<String>,
    bundle: TrustBundle,
    end: Timestamp,
    described: MeshAuthority,
}

/// The names that a certificate gives its owner. Whoever makes this value vouches for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadNames {
    /// Names the instance group.
    pub spiffe_id: SpiffeId,
    /// Names the instance: `INSTANCE-ID.TRUST-DOMAIN`.
    pub dns_name: String,
}

impl WorkloadNames {
    /// The names of a workload of the director's facts.
    ///
    /// # Errors
    /// When its deployment, group or id cannot be written in them.
    pub fn of(domain: &TrustDomain, workload: &Workload) -> Result<Self, SpiffeError> {
        Ok(Self { spiffe_id: SpiffeId::of(domain, workload)?, dns_name: domain.instance_name(&workload.id)? })
    }
}

impl CertificateAuthority {
    /// Reads an authority, and checks it by a certificate that it issues for itself and throws away.
    ///
    /// # Errors
    /// The first reason why it cannot be used at this time.
    pub fn open(files: AuthorityFiles<'_>, now: Timestamp) -> Result<Self, AuthorityError> {
        let all = certificates(files.certificate).map_err(AuthorityError::Certificate)?;
        let path = Path::read(&all).map_err(AuthorityError::Certificate)?;
        let (der, first) = path.issuing();
        let signer = may_issue(first, files.private_key)?;
        let bundle = path.bundle(files.roots)?.with(path.between());
        let end = path.end(&bundle)?;
        if end <= now {
            return Err(AuthorityError::Expired(end.0));
        }
        let issuer =
            Issuer::from_ca_cert_der(der, signer).map_err(|_| AuthorityError::Subject(first.subject().to_string()))?;
        let between = path.between().iter().map(|der| x509::pem(der)).collect();
        let described = path.described(&bundle)?;
        let authority = Self { issuer, between, bundle, end, described };
        authority.try_out(first, now)?;
        Ok(authority)
    }

    /// Issues a certificate for the request's key. It names its owner by `names` alone, is valid from
    /// [`BACK_DATED`] before `now` until `life` after `now` or until the authority ends, whichever is earlier, and may
    /// be used as a client's and a server's (X.509-SVID sections 3 and 4).
    ///
    /// # Errors
    /// When the authority has expired.
    pub fn issue(&self, csr: &Csr, names: &WorkloadNames, life: Duration, now: Timestamp) -> Result<Chain, IssueError> {
        let text = |name: String| name.try_into().map_err(|_| IssueError::CannotSign);
        let names =
            vec![SanType::URI(text(names.spiffe_id.to_string())?), SanType::DnsName(text(names.dns_name.clone())?)];
        let leaf = self.sign(csr.key(), names, life, now)?;
        Ok(Chain::new(leaf.pem(), self.between.iter().cloned(), self.bundle.to_pem()))
    }

    /// The roots that workloads trust, by which their certificates are verified.
    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// Identifies what comes with a certificate, so that its owner sees whether the authority would issue it with other
    /// issuers or roots by now. See [`Chain::authority`].
    pub fn fingerprint(&self) -> String {
        authority_fingerprint(&[self.between.concat(), self.bundle.to_pem()])
    }

    /// What operators are shown: the certificate that issues, and the roots.
    pub fn described(&self) -> &MeshAuthority {
        &self.described
    }

    /// When the authority, or an issuer of it, expires.
    pub fn end(&self) -> Timestamp {
        self.end
    }

    fn sign(
        &self,
        key: &PublicKey,
        names: Vec<SanType>,
        life: Duration,
        now: Timestamp,
    ) -> Result<rcgen::Certificate, IssueError> {
        if self.end <= now {
            return Err(IssueError::Expired(self.end.0));
        }
        let mut params = CertificateParams::default();
        // The SAN is critical because the subject is empty (RFC 5280 section 4.2.1.6).
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        params.serial_number = Some(serial().into());
        params.not_before = date(now.0.saturating_sub(BACK_DATED.as_secs())).ok_or(IssueError::CannotSign)?;
        params.not_after = date(now.0.saturating_add(life.as_secs()).min(self.end.0)).ok_or(IssueError::CannotSign)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.issuer).map_err(|_| IssueError::CannotSign)
    }

    /// Issues a certificate that names nobody, and verifies it as a peer would.
    fn try_out(&self, own: &X509Certificate<'_>, now: Timestamp) -> Result<(), AuthorityError> {
        let key = PublicKey::read(own.public_key()).map_err(AuthorityError::WeakKey)?;
        let leaf = self.sign(&key, Vec::new(), BACK_DATED, now).map_err(|_| AuthorityError::CannotSign)?;
        let read = x509::certificate(leaf.der()).ok_or(AuthorityError::CannotSign)?;
        if read.issuer().as_raw() != own.subject().as_raw() {
            return Err(AuthorityError::Subject(own.subject().to_string()));
        }
        Ok(self.bundle.verify(leaf.der(), &[], now)?)
    }
}

/// The signer of a certificate that may issue others.
fn may_issue(certificate: &X509Certificate<'_>, key: &SecretString) -> Result<Signer, AuthorityError> {
    let subject = || certificate.subject().to_string();
    if !certificate.is_ca() {
        return Err(AuthorityError::NotAnAuthority(subject()));
    }
    if let Ok(Some(usage)) = certificate.key_usage()
        && !usage.value.key_cert_sign()
    {
        return Err(AuthorityError::MayNotSign(subject()));
    }
    let signer = Signer::from_pem(key.expose_secret())?;
    let own = PublicKey::read(certificate.public_key()).map_err(AuthorityError::WeakKey)?;
    if signer.hash() != KeyHash::of(&own.subject_public_key_info()) {
        return Err(AuthorityError::KeyOfAnother);
    }
    Ok(signer)
}

/// A serial number that no other certificate has: 127 random bits, positive and not zero (RFC 5280 section 4.1.2.2).
fn serial() -> Vec<u8> {
    let mut serial: [u8; 16] = rand::random();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial.to_vec()
}

/// `None` after the year 9999.
pub(crate) fn date(seconds: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()
}
