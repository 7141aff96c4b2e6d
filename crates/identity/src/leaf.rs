//! What a certificate of a workload says.

use std::time::Duration;

use boshy_mesh::{SpiffeId, Timestamp};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use crate::{KeyHash, x509};

/// How long before it is issued a certificate becomes valid, because a peer's clock may be behind.
pub const BACK_DATED: Duration = Duration::from_secs(600);

/// The facts in a workload's certificate. Reading them verifies nothing: [`crate::TrustBundle::verify`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The URI SAN, which names the instance group.
    pub spiffe_id: SpiffeId,
    /// The DNS SAN, which names the instance. `None` in a certificate of another authority, such as Istio's.
    pub dns_name: Option<String>,
    /// First second at which it is valid.
    pub not_before: Timestamp,
    /// Last second at which it is valid.
    pub not_after: Timestamp,
    /// Hash of its public key.
    pub key: KeyHash,
    /// Serial number in lower-case hexadecimal digits, without leading zeros.
    pub serial: String,
}

/// Why a certificate is no workload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// It is not PEM text of the section `CERTIFICATE`.
    #[error("is no PEM certificate")]
    NotPem,
    /// The content is no X.509 certificate.
    #[error("is no X.509 certificate in DER")]
    NotACertificate,
    /// It has no SPIFFE ID, or several URIs (X.509-SVID section 2: exactly one).
    #[error("has not exactly one URI SAN, a SPIFFE ID of the form spiffe://TRUST-DOMAIN/ns/DEPLOYMENT/sa/GROUP")]
    NoSpiffeId,
    /// It has more than one DNS name, so it does not say which instance it is.
    #[error("has several DNS SANs")]
    SeveralNames,
    /// It is a certificate authority (X.509-SVID section 4.1).
    #[error("is a certificate authority and not a leaf")]
    Authority,
}

impl Leaf {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// When it is no workload's certificate.
    pub fn from_pem(text: &str) -> Result<Self, LeafError> {
        Self::from_der(&CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| LeafError::NotPem)?)
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When it is no workload's certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, LeafError> {
        let certificate = x509::certificate(der).ok_or(LeafError::NotACertificate)?;
        if certificate.is_ca() {
            return Err(LeafError::Authority);
        }
        let (uris, names) = alternative_names(&certificate)?;
        let [uri] = uris[..] else { return Err(LeafError::NoSpiffeId) };
        let dns_name = match names[..] {
            [] => None,
            [name] => Some(name.to_owned()),
            _ => return Err(LeafError::SeveralNames),
        };
        let validity = certificate.validity();
        Ok(Self {
            spiffe_id: uri.parse().map_err(|_| LeafError::NoSpiffeId)?,
            dns_name,
            not_before: x509::timestamp(validity.not_before),
            not_after: x509::timestamp(validity.not_after),
            key: KeyHash::of(certificate.public_key().raw),
            serial: certificate.serial.to_str_radix(16),
        })
    }

    /// When to ask for the next certificate: at half of the life that it had when it was issued, and up to a tenth of
    /// that earlier or later, so that VMs that started together do not ask together. `jitter` is drawn uniformly from -1
    /// to 1.
    pub fn renew_at(&self, jitter: f64) -> Timestamp {
        let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(-1.0, 1.0) };
        self.after(self.life().mul_f64(0.5 + 0.05 * jitter))
    }

    /// When it is an alarm that there is no next certificate: at a quarter of the life before the end.
    pub fn alarm_at(&self) -> Timestamp {
        self.after(self.life() - self.life() / 4)
    }

    /// Whether it is valid at this time.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// When it was issued. Of the time for which it is back-dated nothing was left then: half of a short life would be
    /// over before it began.
    fn issued(&self) -> Timestamp {
        Timestamp(self.not_before.0.saturating_add(BACK_DATED.as_secs()).min(self.not_after.0))
    }

    fn life(&self) -> Duration {
        Duration::from_secs(self.not_after.0 - self.issued().0)
    }

    fn after(&self, passed: Duration) -> Timestamp {
        Timestamp(self.issued().0 + passed.as_secs())
    }
}

type Names<'a> = (Vec<&'a str>, Vec<&'a str>);

/// URIs and DNS names.
fn alternative_names<'a>(certificate: &'a X509Certificate<'_>) -> Result<Names<'a>, LeafError> {
    let extension = certificate.subject_alternative_name().map_err(|_| LeafError::NotACertificate)?;
    let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let uris = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let dns = names.iter().filter_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None });
    Ok((uris.collect(), dns.collect()))
}
