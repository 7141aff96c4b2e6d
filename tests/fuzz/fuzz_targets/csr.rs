//! Reads a certificate request: arbitrary text, arbitrary DER, and a well-formed one that wishes for arbitrary things. A
//! request that is accepted gets a certificate of its key with the authority's names, whatever it says.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use boshy_fuzz::Input;
use boshy_identity::{AuthorityFiles, CertificateAuthority, Csr, WorkloadNames};
use boshy_mesh::{Timestamp, TrustDomain, Workload};
use libfuzzer_sys::fuzz_target;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};

/// A moment at which the authority is valid.
const NOW: Timestamp = Timestamp(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3600);

static AUTHORITY: LazyLock<CertificateAuthority> = LazyLock::new(|| {
    let private_key = &include_str!("../../../crates/identity/src/tests/fixtures/p384_ca.key").into();
    let certificate = include_str!("../../../crates/identity/src/tests/fixtures/p384_ca.pem");
    CertificateAuthority::open(AuthorityFiles { certificate, private_key, roots: None }, NOW).expect("an authority")
});
static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().expect("a key"));
static NAMES: LazyLock<WorkloadNames> = LazyLock::new(|| {
    let workload = Workload { id: "one".into(), deployment: "shop".into(), group: "api".into(), ..Workload::default() };
    WorkloadNames::of(&TrustDomain::default(), &workload).expect("names")
});

fuzz_target!(|octets: &[u8]| {
    let text = String::from_utf8_lossy(octets);
    let der = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", octets));
    for text in [Some(text.into_owned()), Some(der), wishing(Input::new(octets))].into_iter().flatten() {
        if let Ok(csr) = Csr::from_pem(&text) {
            gets_what_the_authority_decides(&csr);
        }
    }
});

fn gets_what_the_authority_decides(csr: &Csr) {
    let chain = AUTHORITY.issue(csr, &NAMES, HOUR, NOW).expect("a certificate");
    let leaf = chain.check(csr.key_hash(), NOW).expect("a certificate that its owner can use");
    assert_eq!((&leaf.spiffe_id, leaf.dns_name.as_ref()), (&NAMES.spiffe_id, Some(&NAMES.dns_name)));
    assert_eq!(leaf.not_after, Timestamp(NOW.0 + HOUR.as_secs()));
}

/// A request that is signed as it should be. `None` when its texts cannot be in one.
fn wishing(mut input: Input<'_>) -> Option<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    while !input.is_empty() {
        let (kind, number) = (input.octet(), input.octet());
        let piece = input.piece();
        let text = || String::from_utf8_lossy(piece).into_owned();
        match kind % 4 {
            0 => params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, number.into()]), text()),
            1 => params.subject_alt_names.push(SanType::URI(text().try_into().ok()?)),
            2 => params.subject_alt_names.push(SanType::DnsName(text().try_into().ok()?)),
            _ => {
                let oid = [2, 5, 29, u64::from(number)];
                params.custom_extensions.push(CustomExtension::from_oid_content(&oid, piece.to_vec()));
            }
        }
    }
    params.serialize_request(&*KEY).ok()?.pem().ok()
}
