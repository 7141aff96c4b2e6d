//! What a BOSH agent vouches for. The fixtures have the form that the director gives them: RSA of 3,072 bits in PKCS#1,
//! the subject `C=USA, O=Cloud Foundry, CN=AGENT-ID.agent.bosh-internal`, for clients only.

use boshy_mesh::{Timestamp, Workload};
use rcgen::{CertificateParams, DnType, KeyPair};
use secrecy::{ExposeSecret, SecretString};

use super::{Ca, DAY, NOW, date};
use crate::{BoshAgents, Csr, NotAttested, NotVouched, PrivateKey, Voucher, VoucherError, attest_vouched, csr_for};

const CA: &str = include_str!("fixtures/nats_ca.pem");
const AGENT_ID: &str = "11111111-0a4b-4c60-8f39-2f4f7c9b7d11";

fn voucher() -> Voucher {
    let key = include_str!("fixtures/bosh_agent.key").into();
    Voucher::issue(include_str!("fixtures/bosh_agent.pem"), &key, NOW).unwrap()
}

fn request() -> Csr {
    Csr::from_pem(&csr_for(&PrivateKey::generate().unwrap()).unwrap()).unwrap()
}

fn agents() -> BoshAgents {
    BoshAgents::from_pem(CA).unwrap()
}

/// A certificate and its key with this subject, of an authority.
fn issued_by(ca: &Ca, name: &str) -> (String, SecretString) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date(NOW.0 - 1), date(NOW.0 + DAY.as_secs()));
    (params.signed_by(&key, &ca.0).unwrap().pem(), key.serialize_pem().into())
}

#[test]
fn the_bosh_agent_of_a_vm_vouches_for_a_request_by_a_voucher_that_was_on_disk() {
    let (voucher, request) = (Voucher::from_pem(voucher().to_pem().expose_secret()).unwrap(), request());
    let proof = voucher.proof(&request, NOW).unwrap();
    assert_eq!(agents().vm_of(&proof, request.key_hash(), NOW).as_deref(), Ok(AGENT_ID));
    // By any of the CAs, while the director's is replaced.
    let both = BoshAgents::from_pem(&(Ca::root("new").pem() + CA)).unwrap();
    assert_eq!(both.vm_of(&proof, request.key_hash(), NOW).as_deref(), Ok(AGENT_ID));
}

#[test]
fn a_proof_is_for_one_key_and_for_an_hour() {
    let (voucher, mine, others) = (voucher(), request(), request());
    let proof = voucher.proof(&mine, NOW).unwrap();
    let at = |key: &Csr, seconds: u64| agents().vm_of(&proof, key.key_hash(), Timestamp(NOW.0 + seconds));
    assert_eq!(at(&others, 0), Err(NotVouched::AnotherKey));
    assert!(at(&mine, 3600).is_ok());
    assert_eq!(at(&mine, 3601), Err(NotVouched::NotNow));
    // The voucher itself lasts for as long as the BOSH agent's certificate.
    let later = Timestamp(NOW.0 + 300 * DAY.as_secs());
    let proof = voucher.proof(&mine, later).unwrap();
    assert!(agents().vm_of(&proof, mine.key_hash(), later).is_ok());
}

#[test]
fn a_link_that_another_key_has_signed_is_refused() {
    let (one, other, request) = (voucher(), voucher(), request());
    let parts = |proof: String| -> Vec<String> {
        proof.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect()
    };
    let (mine, others) = (parts(one.proof(&request, NOW).unwrap()), parts(other.proof(&request, NOW).unwrap()));
    let vm_of = |proof: &[&str]| agents().vm_of(&proof.concat(), request.key_hash(), NOW);
    assert!(vm_of(&[&mine[0], &mine[1], &mine[2]]).is_ok());
    assert_eq!(vm_of(&[&mine[0], &others[1], &mine[2]]), Err(NotVouched::Signature));
    assert_eq!(vm_of(&[&mine[0], &mine[2]]), Err(NotVouched::Form));
    assert_eq!(vm_of(&[&mine[0], &mine[1], &mine[2], &mine[2]]), Err(NotVouched::Form));
    assert_eq!(vm_of(&[]), Err(NotVouched::Form));
    // A chain that ends in another VM's key.
    let (certificate, key) = issued_by(&Ca::root("nats"), &format!("{AGENT_ID}.agent.bosh-internal"));
    let foreign = parts(Voucher::issue(&certificate, &key, NOW).unwrap().proof(&request, NOW).unwrap());
    assert_eq!(vm_of(&[&foreign[0], &foreign[1], &mine[2]]), Err(NotVouched::Signature));
    assert!(matches!(vm_of(&[&foreign[0], &foreign[1], &foreign[2]]), Err(NotVouched::NotTrusted(_))));
}

#[test]
fn only_the_certificate_of_a_vm_that_has_booted_vouches() {
    let key = include_str!("fixtures/bosh_bootstrap.key").into();
    let refused = Voucher::issue(include_str!("fixtures/bosh_bootstrap.pem"), &key, NOW).unwrap_err().to_string();
    assert!(refused.contains("has not exactly one common name of the form AGENT-ID.agent.bosh-internal"), "{refused}");

    // What the agent's side refuses, the pilot's refuses, too.
    let (ca, request) = (Ca::root("nats"), request());
    let agents = BoshAgents::from_pem(&ca.pem()).unwrap();
    let (certificate, key) = issued_by(&ca, &format!("{AGENT_ID}.agent.bosh-internal"));
    let proof = Voucher::issue(&certificate, &key, NOW).unwrap().proof(&request, NOW).unwrap();
    assert!(agents.vm_of(&proof, request.key_hash(), NOW).is_ok());
    for name in ["default.director.bosh-internal", "x.bootstrap.agent.bosh-internal", ".agent.bosh-internal", "x"] {
        let (certificate, key) = issued_by(&ca, name);
        let error = Voucher::issue(&certificate, &key, NOW).unwrap_err();
        assert!(matches!(error, VoucherError::NotAnAgent(_)), "{name}: {error}");
    }
}

#[test]
fn what_is_no_credential_of_a_bosh_agent_is_refused_without_a_word_of_the_key() {
    let (certificate, key) = (include_str!("fixtures/bosh_agent.pem"), include_str!("fixtures/bosh_agent.key"));
    let issue = |certificate: &str, key: &str| Voucher::issue(certificate, &key.into(), NOW).unwrap_err();
    assert!(matches!(issue("", key), VoucherError::Certificate(_)));
    assert!(matches!(issue(certificate, ""), VoucherError::Key(_)));
    let anothers = include_str!("fixtures/bosh_bootstrap.key");
    assert!(matches!(issue(certificate, anothers), VoucherError::KeyOfAnother));
    assert!(matches!(Voucher::from_pem(certificate), Err(VoucherError::Form)));
    assert!(matches!(Voucher::from_pem(key), Err(VoucherError::Form)));
    let torn = key.replace('\n', " ");
    let voucher = voucher();
    let shown = format!("{} {:?} {voucher:?}", issue(certificate, &torn), issue(certificate, &torn));
    assert!(key.lines().chain(voucher.to_pem().expose_secret().lines()).all(|line| !shown.contains(line)), "{shown}");
}

#[test]
fn a_request_is_that_of_the_vm_at_its_address_or_of_none() {
    let workload = |agent_id: Option<&str>| Workload {
        id: "one".into(),
        agent_id: agent_id.map(str::to_owned),
        ..Workload::default()
    };
    assert_eq!(attest_vouched(&workload(Some(AGENT_ID)), AGENT_ID), Ok(AGENT_ID));
    let refused = attest_vouched(&workload(Some("another")), AGENT_ID).unwrap_err();
    assert_eq!(refused, NotAttested::AnotherVm { vouched: AGENT_ID.into(), expected: "another".into() });
    assert_eq!(attest_vouched(&workload(None), AGENT_ID), Err(NotAttested::NoAgentId("one".into())));
}
