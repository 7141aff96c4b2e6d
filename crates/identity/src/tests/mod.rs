//! Scenarios of keys, requests, authorities and chains. rustls reads what is issued, as an independent reader.

mod attestation;
mod authorities;
mod certificates;
mod requests;
mod vouchers;
mod wishes;

use std::time::Duration;

use boshy_mesh::{Timestamp, TrustDomain, Workload};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use time::OffsetDateTime;

use crate::{AuthorityError, AuthorityFiles, CertificateAuthority, Chain, Csr, PrivateKey, WorkloadNames, csr_for};

/// A moment in 2027, at which the fixtures are valid.
const NOW: Timestamp = Timestamp(1_800_000_000);
const HOUR: u64 = 3600;
const DAY: Duration = Duration::from_secs(24 * HOUR);

/// A CA certificate as its owner has it.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn root(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(ca_params(name, 10 * 365 * 24 * HOUR), KeyPair::generate().unwrap()).unwrap())
    }

    fn expiring_in(name: &str, seconds: u64) -> Self {
        Self(CertifiedIssuer::self_signed(ca_params(name, seconds), KeyPair::generate().unwrap()).unwrap())
    }

    fn intermediate(&self, name: &str) -> Self {
        let params = ca_params(name, 365 * 24 * HOUR);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn open(&self, roots: Option<&str>) -> Result<CertificateAuthority, AuthorityError> {
        open(&self.pem(), &self.0.key().serialize_pem(), roots, NOW)
    }
}

fn ca_params(name: &str, seconds: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date(NOW.0 - HOUR);
    params.not_after = date(NOW.0 + seconds);
    params
}

fn date(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap()
}

fn open(
    certificate: &str,
    key: &str,
    roots: Option<&str>,
    now: Timestamp,
) -> Result<CertificateAuthority, AuthorityError> {
    CertificateAuthority::open(AuthorityFiles { certificate, private_key: &key.into(), roots }, now)
}

fn names() -> WorkloadNames {
    let id = "6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11".into();
    let workload = Workload { id, deployment: "shop".into(), group: "api".into(), ..Workload::default() };
    WorkloadNames::of(&TrustDomain::default(), &workload).unwrap()
}

/// A certificate for a new key.
fn issued_by(authority: &CertificateAuthority) -> (PrivateKey, Chain) {
    let key = PrivateKey::generate().unwrap();
    let csr = Csr::from_pem(&csr_for(&key).unwrap()).unwrap();
    let chain = authority.issue(&csr, &names(), DAY, NOW).unwrap();
    (key, chain)
}
