//! What is read from a request, and which requests are refused.

use secrecy::ExposeSecret;

use super::{Ca, DAY, NOW, names};
use crate::{Csr, CsrError, KeyError, Leaf, PrivateKey, WeakKey, csr_for};

const RSA_2048: &str = include_str!("fixtures/rsa_2048.csr");

#[test]
fn a_key_its_request_and_its_pem_text_have_one_hash() {
    let key = PrivateKey::generate().unwrap();
    let read = PrivateKey::from_pem(key.to_pem().expose_secret()).unwrap();
    assert_eq!(read.hash(), key.hash());
    assert_eq!(Csr::from_pem(&csr_for(&read).unwrap()).unwrap().key_hash(), key.hash());
    assert_eq!(key.hash().to_string().parse(), Ok(key.hash()));
    assert_ne!(PrivateKey::generate().unwrap().hash(), key.hash());
}

#[test]
fn a_private_key_shows_only_its_hash() {
    let key = PrivateKey::generate().unwrap();
    let shown = format!("{key:?} {:?}", key.to_pem());
    assert!(shown.contains(&key.hash().to_string()));
    let pem = key.to_pem();
    assert!(pem.expose_secret().lines().all(|line| !shown.contains(line)), "{shown}");
}

#[test]
fn a_text_that_is_no_p256_key_is_refused() {
    assert_eq!(PrivateKey::from_pem("").unwrap_err(), KeyError::NotPem);
    assert_eq!(PrivateKey::from_pem(include_str!("fixtures/p384_ca.key")).unwrap_err(), KeyError::NotPem);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    assert_eq!(PrivateKey::from_pem(&p384).unwrap_err(), KeyError::NotP256);
}

#[test]
fn rsa_and_p384_requests_with_a_subject_and_names_get_certificates_for_their_key_alone() {
    let authority = Ca::root("root").open(None).unwrap();
    for text in [RSA_2048, include_str!("fixtures/p384.csr")] {
        let csr = Csr::from_pem(text).unwrap();
        let leaf = Leaf::from_pem(authority.issue(&csr, &names(), DAY, NOW).unwrap().leaf_pem()).unwrap();
        assert_eq!(leaf.key, csr.key_hash());
        assert_eq!((leaf.spiffe_id, leaf.dns_name), (names().spiffe_id, Some(names().dns_name)));
    }
}

#[test]
fn weak_keys_and_other_curves_are_refused() {
    let refused = |text| Csr::from_pem(text).unwrap_err();
    assert_eq!(refused(include_str!("fixtures/rsa_1024.csr")), CsrError::WeakKey(WeakKey::Rsa(1024)));
    assert_eq!(refused(include_str!("fixtures/p521.csr")), CsrError::WeakKey(WeakKey::Curve));
    assert_eq!(refused(include_str!("fixtures/ed25519.csr")), CsrError::WeakKey(WeakKey::Kind));
}

#[test]
fn a_signature_by_another_key_or_by_sha1_is_refused() {
    assert_eq!(Csr::from_pem(include_str!("fixtures/rsa_sha1.csr")).unwrap_err(), CsrError::Signature);
    // One bit of the signature, which is last.
    let mut der = pem::parse(RSA_2048).unwrap().into_contents();
    *der.last_mut().unwrap() ^= 1;
    let forged = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der));
    assert_eq!(Csr::from_pem(&forged).unwrap_err(), CsrError::Signature);
}

#[test]
fn what_is_no_request_is_refused() {
    assert_eq!(Csr::from_pem("").unwrap_err(), CsrError::NotPem);
    assert_eq!(Csr::from_pem(&Ca::root("root").pem()).unwrap_err(), CsrError::NotPem);
    assert_eq!(Csr::from_pem(&" ".repeat(16 << 10 | 1)).unwrap_err(), CsrError::TooLong);
    let mut der = pem::parse(RSA_2048).unwrap().into_contents();
    let text = |der: &[u8]| pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der));
    assert_eq!(Csr::from_pem(&text(&der[1..])).unwrap_err(), CsrError::NotARequest);
    der.push(0);
    assert_eq!(Csr::from_pem(&text(&der)).unwrap_err(), CsrError::NotARequest);
}
