//! The table of the module `attestation`, row by row.

use boshy_mesh::{Timestamp, TrustDomain, Workload};

use super::{Ca, DAY, NOW, issued_by};
use crate::{Claim, KeyHash, KnownKey, Leaf, NotAttested, PrivateKey, Register, WorkloadNames};

const INSTANCE: &str = "6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11";

fn workload(agent_id: Option<&str>) -> Workload {
    Workload {
        id: INSTANCE.into(),
        deployment: "shop".into(),
        group: "api".into(),
        agent_id: agent_id.map(str::to_owned),
        ..Workload::default()
    }
}

fn key() -> KeyHash {
    PrivateKey::generate().unwrap().hash()
}

/// What a request of the workload gets.
fn attest(
    register: &Register,
    agent_id: &str,
    presented: Option<&str>,
    key: KeyHash,
    latest: Option<&Leaf>,
) -> Result<(), NotAttested> {
    let workload = workload(Some(agent_id));
    let names = &WorkloadNames::of(&TrustDomain::default(), &workload).unwrap();
    register.attest(Claim { workload: &workload, names, presented, key, latest }).map(|attested| {
        assert_eq!(attested, agent_id);
    })
}

/// A register that knows the VM `vm` by a key.
fn knowing(key: KeyHash) -> Register {
    let mut register = Register::default();
    let (issued, end) = (NOW, Timestamp(NOW.0 + DAY.as_secs()));
    register.record("vm", KnownKey { instance: INSTANCE.into(), key, issued, end, issuer: None });
    register
}

fn another_key() -> Result<(), NotAttested> {
    Err(NotAttested::AnotherKey { agent_id: "vm".into(), instance: INSTANCE.into() })
}

#[test]
fn the_first_key_of_a_vm_is_accepted_and_then_no_other() {
    let (first, other) = (key(), key());
    assert_eq!(attest(&Register::default(), "vm", None, first, None), Ok(()));
    let register = knowing(first);
    assert_eq!(attest(&register, "vm", None, first, None), Ok(()));
    assert_eq!(attest(&register, "vm", None, other, None), another_key());
    assert_eq!(attest(&register, "vm-made-anew", None, other, None), Ok(()));
}

#[test]
fn a_certificate_of_the_instance_is_renewed_with_any_key_and_anothers_is_not() {
    let register = knowing(key());
    let own = format!("{INSTANCE}.boshy");
    assert_eq!(attest(&register, "vm", Some(&own), key(), None), Ok(()));
    for presented in ["0b1f0c58-3a0e-4a3b-9a57-0a5f7d2c9d10.boshy", "x", ""] {
        let refused = attest(&register, "vm", Some(presented), key(), None);
        let expected = NotAttested::AnotherInstance { presented: presented.into(), expected: own.clone() };
        assert_eq!(refused, Err(expected));
    }
}

#[test]
fn a_key_that_another_pilot_has_certified_since_is_accepted() {
    let authority = Ca::root("root").open(None).unwrap();
    let (own, chain) = issued_by(&authority);
    let mut leaf = authority.bundle().leaf_of_any_time(&chain.certificates_pem()).unwrap();
    leaf.not_after = Timestamp(NOW.0 + 2 * DAY.as_secs());
    let register = knowing(key());
    assert_eq!(attest(&register, "vm", None, own.hash(), Some(&leaf)), Ok(()));

    // Not with another key, not for another instance, and not of a VM that was there before.
    assert_eq!(attest(&register, "vm", None, key(), Some(&leaf)), another_key());
    let of_another = Leaf { dns_name: Some("x.boshy".into()), ..leaf.clone() };
    assert_eq!(attest(&register, "vm", None, own.hash(), Some(&of_another)), another_key());
    let earlier = Leaf { not_after: NOW, ..leaf };
    assert_eq!(attest(&register, "vm", None, own.hash(), Some(&earlier)), another_key());
}

#[test]
fn a_certificate_of_another_authority_is_no_latest_one() {
    let (_, chain) = issued_by(&Ca::root("root").open(None).unwrap());
    let other = Ca::root("root").open(None).unwrap();
    assert!(other.bundle().leaf_of_any_time(&chain.certificates_pem()).is_err());
    assert!(other.bundle().leaf_of_any_time("").is_err());
}

#[test]
fn an_instance_without_a_vm_gets_nothing() {
    let workload = workload(None);
    let names = &WorkloadNames::of(&TrustDomain::default(), &workload).unwrap();
    let claim = Claim { workload: &workload, names, presented: None, key: key(), latest: None };
    assert_eq!(Register::default().attest(claim), Err(NotAttested::NoAgentId(INSTANCE.into())));
}

#[test]
fn a_vm_is_forgotten_when_it_is_not_listed_and_its_certificate_has_ended() {
    let mut register = knowing(key());
    let end = register.get("vm").unwrap().end;
    register.prune(|_| false, end);
    assert_eq!(register.len(), 1);
    register.prune(|agent_id| agent_id == "vm", Timestamp(end.0 + 1));
    assert_eq!(register.len(), 1);
    register.prune(|_| false, Timestamp(end.0 + 1));
    assert!(register.is_empty());
}
