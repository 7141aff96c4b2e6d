//! Whatever a request wishes for, its key alone is used: names, life and usage of the certificate are the authority's.

use std::{sync::LazyLock, time::Duration};

use boshy_mesh::Timestamp;
use proptest::{collection::vec, prelude::*, sample::Index};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate},
};

use super::{Ca, NOW, names};
use crate::{BACK_DATED, CertificateAuthority, Chain, Csr, CsrError, KeyHash, WeakKey};

/// A longer request is refused unread.
const LONGEST: usize = 16 << 10;

static AUTHORITY: LazyLock<CertificateAuthority> = LazyLock::new(|| Ca::root("root").open(None).unwrap());

/// Keys of requests; the last one is of a kind that is refused.
static KEYS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
    vec![
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::from_pem(include_str!("fixtures/rsa_2048.key")).unwrap(),
        KeyPair::from_pem(include_str!("fixtures/rsa_4096.key")).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    ]
});

/// A request as its sender makes it.
#[derive(Debug)]
struct Request {
    key: usize,
    params: CertificateParams,
}

impl Request {
    fn der(&self) -> Vec<u8> {
        self.params.serialize_request(&KEYS[self.key]).unwrap().der().to_vec()
    }

    fn key_hash(&self) -> KeyHash {
        KeyHash::of(&KEYS[self.key].subject_public_key_info())
    }
}

fn requests() -> impl Strategy<Value = Request> {
    let subject = vec((0_u64..80, "[ -~]{0,30}"), 0..8);
    let extensions = vec((1_u64..70, any::<bool>(), vec(any::<u8>(), 0..60)), 0..4);
    // A few names are common, hundreds are what a sender can write.
    let sans = prop_oneof![4 => vec(san(), 0..6), 1 => vec(san(), 100..400)];
    (0..KEYS.len(), subject, sans, any::<bool>(), extensions).prop_map(|(key, subject, sans, rules, extensions)| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (attribute, value) in subject {
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, attribute]), value);
        }
        params.subject_alt_names = sans;
        if rules {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any, ExtendedKeyUsagePurpose::CodeSigning];
        }
        params.custom_extensions = extensions
            .into_iter()
            .map(|(number, critical, content)| {
                let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, number], content);
                extension.set_criticality(critical);
                extension
            })
            .collect();
        Request { key, params }
    })
}

fn san() -> impl Strategy<Value = SanType> {
    let text = |text: String| text.try_into().unwrap();
    prop_oneof![
        Just(SanType::URI("spiffe://boshy/ns/shop/sa/admin".try_into().unwrap())),
        Just(SanType::DnsName("0b1f0c58-3a0e-4a3b-9a57-0a5f7d2c9d10.boshy".try_into().unwrap())),
        Just(SanType::DnsName("*".try_into().unwrap())),
        "[ -~]{0,40}".prop_map(move |uri| SanType::URI(text(uri))),
        "[ -~]{0,40}".prop_map(move |name| SanType::DnsName(text(name))),
        "[ -~]{0,40}".prop_map(move |mail| SanType::Rfc822Name(text(mail))),
        any::<std::net::IpAddr>().prop_map(SanType::IpAddress),
        ".{0,20}".prop_map(|other| SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], other.into()))),
    ]
}

fn pem(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der))
}

/// Checks a certificate against what the authority decides, as an independent reader reads it.
fn says_what_the_authority_decides(chain: &Chain, key: KeyHash, life: Duration) {
    let der = CertificateDer::from_pem_slice(chain.leaf_pem().as_bytes()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(KeyHash::of(certificate.public_key().raw), key);
    assert_eq!(certificate.subject().iter().count(), 0);

    let (uri, dns) = (names().spiffe_id.to_string(), names().dns_name);
    let sans = certificate.subject_alternative_name().unwrap().unwrap();
    assert!(sans.critical);
    assert_eq!(sans.value.general_names, [GeneralName::URI(&uri), GeneralName::DNSName(&dns)]);

    let validity = certificate.validity();
    assert_eq!(validity.not_before.timestamp(), i64::try_from(NOW.0 - BACK_DATED.as_secs()).unwrap());
    assert_eq!(validity.not_after.timestamp(), i64::try_from(NOW.0 + life.as_secs()).unwrap());

    assert_eq!(certificate.key_usage().unwrap().unwrap().value.flags, 1, "digitalSignature alone");
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth);
    assert!(!usage.any && !usage.code_signing && !usage.ocsp_signing && usage.other.is_empty());
    for extension in certificate.extensions() {
        let known = matches!(
            extension.parsed_extension(),
            ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::BasicConstraints(_)
                | ParsedExtension::AuthorityKeyIdentifier(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
        );
        assert!(known, "{extension:?} is not the authority's");
    }
    assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
    chain.check(key, Timestamp(NOW.0)).unwrap();
}

proptest! {
    #[test]
    fn a_certificate_says_what_the_authority_decides_and_has_the_key_of_its_request(
        request in requests(),
        life in 60_u64..90 * 24 * 3600,
    ) {
        let (text, life) = (pem(&request.der()), Duration::from_secs(life));
        match Csr::from_pem(&text) {
            Ok(csr) => {
                let chain = AUTHORITY.issue(&csr, &names(), life, NOW).unwrap();
                says_what_the_authority_decides(&chain, request.key_hash(), life);
            }
            Err(CsrError::TooLong) => prop_assert!(text.len() > LONGEST),
            Err(error) => {
                prop_assert_eq!(error, CsrError::WeakKey(WeakKey::Kind));
                prop_assert_eq!(request.key, KEYS.len() - 1);
            }
        }
    }

    #[test]
    fn a_request_that_was_changed_on_its_way_gets_nothing_for_another_key(
        request in requests(),
        place in any::<Index>(),
        change in 1_u8..,
    ) {
        let mut der = request.der();
        *place.get_mut(&mut der) ^= change;
        // What is not signed can change unnoticed, such as a parameter of the method.
        if let Ok(csr) = Csr::from_pem(&pem(&der)) {
            prop_assert_eq!(csr.key_hash(), request.key_hash());
        }
    }
}
