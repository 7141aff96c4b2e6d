//! What an issued certificate says, and who accepts it.

use std::{sync::Arc, time::Duration};

use boshy_mesh::Timestamp;
use proptest::prelude::*;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use x509_parser::{extensions::ParsedExtension, prelude::FromDer};

use super::{Ca, DAY, HOUR, NOW, issued_by, names};
use crate::{BACK_DATED, Chain, ChainError, Csr, IssueError, Leaf, PrivateKey, csr_for};

#[test]
fn a_leaf_has_the_names_it_was_given_and_the_form_of_an_x509_svid() {
    let (key, chain) = issued_by(&Ca::root("root").open(None).unwrap());
    let leaf = chain.check(key.hash(), NOW).unwrap();
    assert_eq!((leaf.spiffe_id, leaf.dns_name), (names().spiffe_id, Some(names().dns_name)));
    assert_eq!(leaf.not_before.0, NOW.0 - BACK_DATED.as_secs());
    assert_eq!(leaf.not_after.0, NOW.0 + DAY.as_secs());

    let der = CertificateDer::from_pem_slice(chain.leaf_pem().as_bytes()).unwrap();
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.subject().iter().count(), 0);
    assert!(certificate.subject_alternative_name().unwrap().unwrap().critical);
    assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "digitalSignature alone");
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    let issuer = |extension: &&x509_parser::extensions::X509Extension<'_>| {
        matches!(extension.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(_))
    };
    assert_eq!(certificate.extensions().iter().filter(issuer).count(), 1);
}

#[test]
fn peers_accept_a_leaf_as_a_server_by_its_dns_name_alone() {
    let root = Ca::root("root");
    let (_, chain) = issued_by(&root.intermediate("boshy").open(Some(&root.pem())).unwrap());
    let mut store = RootCertStore::empty();
    store.add(root.0.der().clone()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), Arc::new(ring::default_provider()));
    let verifier = verifier.build().unwrap();
    let presented = chain.certificates_pem();
    let presented: Vec<_> = CertificateDer::pem_slice_iter(presented.as_bytes()).collect::<Result<_, _>>().unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW.0));
    let accepts = |name: String| {
        verifier.verify_server_cert(&presented[0], &presented[1..], &name.try_into().unwrap(), &[], now).is_ok()
    };
    assert!(accepts(names().dns_name));
    assert!(!accepts("another.boshy".into()));
}

#[test]
fn each_certificate_has_a_serial_number_of_its_own() {
    let authority = Ca::root("root").open(None).unwrap();
    let csr = Csr::from_pem(&csr_for(&PrivateKey::generate().unwrap()).unwrap()).unwrap();
    let serial = || Leaf::from_pem(authority.issue(&csr, &names(), DAY, NOW).unwrap().leaf_pem()).unwrap().serial;
    let (one, other) = (serial(), serial());
    assert_ne!(one, other);
    assert_eq!((one.len(), other.len()), (32, 32));
}

#[test]
fn a_leaf_ends_with_its_authority_at_the_latest() {
    let authority = Ca::expiring_in("short", HOUR).open(None).unwrap();
    let (_, chain) = issued_by(&authority);
    assert_eq!(Leaf::from_pem(chain.leaf_pem()).unwrap().not_after, authority.end());
    let csr = Csr::from_pem(&csr_for(&PrivateKey::generate().unwrap()).unwrap()).unwrap();
    let late = authority.issue(&csr, &names(), DAY, authority.end());
    assert_eq!(late, Err(IssueError::Expired(authority.end().0)));
}

#[test]
fn a_received_chain_is_checked_before_it_is_used() {
    let root = Ca::root("root");
    let (key, chain) = issued_by(&root.open(None).unwrap());
    let received = |texts: &[&str]| Chain::received(texts.iter().map(|text| (*text).to_owned()).collect());
    let check = |texts: &[&str]| received(texts).unwrap().check(key.hash(), NOW).unwrap_err();
    let (leaf, other_root) = (chain.leaf_pem(), Ca::root("root"));

    assert_eq!(Chain::received(chain.texts().to_vec()), Ok(chain.clone()));
    assert_eq!(received(&[leaf]), Err(ChainError::TooShort(1)));
    assert!(matches!(check(&["", &root.pem()]), ChainError::Leaf(_)));
    assert!(matches!(check(&[leaf, ""]), ChainError::Roots(_)));
    assert!(matches!(check(&[leaf, &other_root.pem()]), ChainError::NotTrusted(_)));
    let another = PrivateKey::generate().unwrap().hash();
    assert_eq!(chain.check(another, NOW), Err(ChainError::KeyOfAnother));
    let late = Timestamp(NOW.0 + DAY.as_secs() + 1);
    assert!(matches!(chain.check(key.hash(), late), Err(ChainError::NotTrusted(_))));
}

#[test]
fn an_authority_is_no_leaf() {
    assert_eq!(Leaf::from_pem(&Ca::root("root").pem()), Err(crate::LeafError::Authority));
}

#[test]
fn a_day_is_renewed_at_half_and_alarms_at_a_quarter_before_its_end() {
    let (key, chain) = issued_by(&Ca::root("root").open(None).unwrap());
    let leaf = chain.check(key.hash(), NOW).unwrap();
    let life = DAY.as_secs();
    let renewed = [-1.0, 0.0, 1.0].map(|jitter| leaf.renew_at(jitter).0 - NOW.0);
    assert_eq!(renewed, [life * 45 / 100, life / 2, life * 55 / 100]);
    assert_eq!(leaf.alarm_at().0 - NOW.0, life * 3 / 4);
    assert!(leaf.is_valid_at(NOW) && !leaf.is_valid_at(Timestamp(leaf.not_before.0 - 1)));
}

/// It is back-dated by more than its life.
#[test]
fn a_short_life_is_renewed_at_half_of_what_is_left_when_it_is_issued() {
    let authority = Ca::expiring_in("short", 20).open(None).unwrap();
    let (key, chain) = issued_by(&authority);
    let leaf = chain.check(key.hash(), NOW).unwrap();
    assert_eq!((leaf.renew_at(0.0).0 - NOW.0, leaf.alarm_at().0 - NOW.0), (10, 15));
}

proptest! {
    #[test]
    fn renewal_comes_before_the_alarm_and_both_within_the_life(life in 1_u64..10_000_000, jitter in any::<f64>()) {
        let (key, chain) = issued_by(&Ca::root("root").open(None).unwrap());
        let mut leaf = chain.check(key.hash(), NOW).unwrap();
        leaf.not_after = Timestamp(leaf.not_before.0 + life);
        let (renew, alarm) = (leaf.renew_at(jitter), leaf.alarm_at());
        prop_assert!(leaf.not_before <= renew && renew <= alarm && alarm <= leaf.not_after);
    }
}
