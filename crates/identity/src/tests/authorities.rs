//! Which CA certificates, keys and roots are accepted, and what is said of the others.

use boshy_mesh::Timestamp;

use super::{Ca, HOUR, NOW, issued_by, open};
use crate::{AuthorityError as Error, TrustBundle};

const RSA: (&str, &str) = (include_str!("fixtures/rsa_ca.pem"), include_str!("fixtures/rsa_ca.key"));
const P384: (&str, &str) = (include_str!("fixtures/p384_ca.pem"), include_str!("fixtures/p384_ca.key"));

fn fingerprint(pem: &str) -> String {
    TrustBundle::from_pem(pem).unwrap().fingerprints().remove(0)
}

#[test]
fn an_rsa_key_in_pkcs1_and_a_p384_key_in_sec1_issue_certificates() {
    for (certificate, key) in [RSA, P384] {
        let (key, chain) = issued_by(&open(certificate, key, None, NOW).unwrap());
        chain.check(key.hash(), NOW).unwrap();
    }
}

#[test]
fn a_root_issues_chains_of_two_texts_and_an_intermediate_of_three() {
    let root = Ca::root("root");
    let (_, chain) = issued_by(&root.open(None).unwrap());
    assert_eq!(chain.texts()[1..], [root.pem()]);
    assert_eq!(chain.issuer(), Some(fingerprint(&root.pem())));

    let intermediate = root.intermediate("boshy");
    let (key, chain) = issued_by(&intermediate.open(Some(&root.pem())).unwrap());
    assert_eq!(chain.texts()[1..], [intermediate.pem(), root.pem()]);
    assert_eq!(chain.issuer(), Some(fingerprint(&intermediate.pem())));
    chain.check(key.hash(), NOW).unwrap();
}

#[test]
fn a_text_with_the_whole_path_needs_no_roots() {
    let root = Ca::root("root");
    let upper = root.intermediate("upper");
    let lower = upper.intermediate("lower");
    let path = lower.pem() + &upper.pem() + &root.pem();
    let authority = open(&path, &lower.0.key().serialize_pem(), None, NOW).unwrap();
    let (key, chain) = issued_by(&authority);
    assert_eq!(chain.texts()[1..], [lower.pem(), upper.pem(), root.pem()]);
    chain.check(key.hash(), NOW).unwrap();
}

#[test]
fn all_roots_travel_in_the_last_text_each_once() {
    let (old, new) = (Ca::root("old"), Ca::root("new"));
    let both = old.pem() + &new.pem();
    let (key, chain) = issued_by(&new.open(Some(&both)).unwrap());
    assert_eq!(chain.texts().len(), 2);
    assert_eq!(chain.roots_pem(), new.pem() + &old.pem());
    assert_eq!(chain.issuer(), Some(fingerprint(&new.pem())), "of two roots the one that has issued it");
    chain.check(key.hash(), NOW).unwrap();
}

#[test]
fn owners_of_certificates_see_by_a_fingerprint_that_issuers_or_roots_are_others() {
    let (root, other) = (Ca::root("root"), Ca::root("other"));
    let intermediate = root.intermediate("boshy");
    let both = root.pem() + &other.pem();
    let authorities = [
        root.open(None).unwrap(),
        root.open(Some(&other.pem())).unwrap(),
        other.open(Some(&both)).unwrap(),
        intermediate.open(Some(&root.pem())).unwrap(),
        intermediate.open(Some(&both)).unwrap(),
        root.intermediate("boshy").open(Some(&both)).unwrap(),
    ];
    let prints: Vec<_> = authorities.iter().map(|authority| authority.fingerprint()).collect();
    for (authority, print) in authorities.iter().zip(&prints) {
        assert_eq!(issued_by(authority).1.authority(), *print);
        assert_eq!(prints.iter().filter(|other| *other == print).count(), 1);
    }
}

#[test]
fn workloads_of_another_authority_are_verified_by_a_common_root_or_by_its_root_in_the_bundle() {
    let (common, foreign) = (Ca::root("common"), Ca::root("foreign"));
    let both = common.pem() + &foreign.pem();
    let ours = common.intermediate("boshy").open(Some(&both)).unwrap();
    let (_, our_leaf) = issued_by(&ours);
    for theirs in [common.intermediate("istio"), foreign.intermediate("istio")] {
        let authority = theirs.open(Some(&both)).unwrap();
        let (_, their_leaf) = issued_by(&authority);
        assert!(ours.bundle().leaf_of_any_time(&their_leaf.certificates_pem()).is_ok());
        assert!(authority.bundle().leaf_of_any_time(&our_leaf.certificates_pem()).is_ok());
    }
    let strange = Ca::root("strange").open(None).unwrap();
    assert!(strange.bundle().leaf_of_any_time(&our_leaf.certificates_pem()).is_err());
}

#[test]
fn a_certificate_that_is_no_authority_is_refused() {
    let root = Ca::root("root");
    let (key, chain) = issued_by(&root.open(None).unwrap());
    let key = secrecy::ExposeSecret::expose_secret(&key.to_pem()).to_owned();
    assert!(matches!(open(chain.leaf_pem(), &key, Some(&root.pem()), NOW).unwrap_err(), Error::NotAnAuthority(_)));
    let refused = open(include_str!("fixtures/no_cert_sign.pem"), RSA.1, None, NOW).unwrap_err();
    assert_eq!(refused, Error::MayNotSign("CN=no-sign".into()));
}

#[test]
fn an_authority_that_has_expired_is_refused() {
    let ca = Ca::expiring_in("short", HOUR);
    let end = Timestamp(NOW.0 + HOUR);
    let opened = |now| open(&ca.pem(), &ca.0.key().serialize_pem(), None, now);
    assert_eq!(opened(Timestamp(end.0 - 1)).unwrap().end(), end);
    assert_eq!(opened(end).unwrap_err(), Error::Expired(end.0));
}

#[test]
fn an_intermediate_ends_with_its_root() {
    let root = Ca::expiring_in("short", HOUR);
    let authority = root.intermediate("boshy").open(Some(&root.pem())).unwrap();
    assert_eq!(authority.end(), Timestamp(NOW.0 + HOUR));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (Ca::root("one"), Ca::root("other"));
    let refused = open(&one.pem(), &other.0.key().serialize_pem(), None, NOW).unwrap_err();
    assert_eq!(refused, Error::KeyOfAnother);
    assert_eq!(open(&one.pem(), &one.pem(), None, NOW).unwrap_err(), Error::NoKey);
}

#[test]
fn an_intermediate_without_its_root_is_refused() {
    let (root, other) = (Ca::root("root"), Ca::root("other"));
    let intermediate = root.intermediate("boshy");
    let expected = Error::NoRoot("CN=boshy".into());
    assert_eq!(intermediate.open(None).unwrap_err(), expected);
    assert_eq!(intermediate.open(Some(&other.pem())).unwrap_err(), expected);
    // The same name is not the same root.
    assert_eq!(intermediate.open(Some(&Ca::root("root").pem())).unwrap_err(), expected);
}

#[test]
fn a_subject_that_would_not_be_repeated_exactly_is_refused() {
    let refused = open(include_str!("fixtures/twice_ou.pem"), RSA.1, None, NOW).unwrap_err();
    assert_eq!(refused, Error::Subject("OU=a, OU=b, CN=twice".into()));
}

#[test]
fn no_error_and_no_debug_text_shows_the_key() {
    let lost_line_breaks = RSA.1.replace('\n', " ");
    let error = open(RSA.0, &lost_line_breaks, None, NOW).unwrap_err();
    let shown = format!("{error} {error:?} {:?}", open(RSA.0, RSA.1, None, NOW).unwrap());
    assert!(RSA.1.lines().all(|line| !shown.contains(line)), "{shown}");
}
