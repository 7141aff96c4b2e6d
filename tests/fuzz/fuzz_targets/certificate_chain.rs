//! A pilot answers with arbitrary texts, an agent sends an arbitrary latest certificate and proof, and an authority, a
//! voucher and a BOSH agent have arbitrary files. What is accepted can be used, and no error repeats a key.
#![no_main]

use std::error::Error;

use boshy_identity::{
    AuthorityFiles, BoshAgents, CertificateAuthority, Chain, KeyHash, PrivateKey, TrustBundle, Voucher,
};
use boshy_mesh::Timestamp;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;

/// A moment at which the kept certificates are valid.
const NOW: Timestamp = Timestamp(1_800_000_000);
/// Text that no error may repeat. The corpus contains it in many places.
const SECRET: &str = "hunter2";
/// Separates the texts of an input.
const NEXT: &str = "\n----\n";

fuzz_target!(|text: &str| {
    let texts: Vec<_> = text.split(NEXT).collect();
    let first = texts[0];
    let key = PrivateKey::from_pem(first);
    if let Ok(key) = &key {
        assert_eq!(PrivateKey::from_pem(key.to_pem().expose_secret()).expect("a key").hash(), key.hash());
    }
    let hash = key.as_ref().map_or_else(|_| "0".repeat(64).parse().expect("a hash"), PrivateKey::hash);
    received(&texts, hash);
    if let Ok(bundle) = TrustBundle::from_pem(first) {
        assert!(!bundle.fingerprints().is_empty());
        assert_eq!(TrustBundle::from_pem(&bundle.to_pem()).expect("a bundle").fingerprints(), bundle.fingerprints());
        for text in &texts {
            if let Ok(leaf) = bundle.leaf_of_any_time(text) {
                assert!(leaf.renew_at(1.0) <= leaf.alarm_at());
            }
        }
    }
    if let Ok(agents) = BoshAgents::from_pem(first) {
        for proof in &texts {
            match agents.vm_of(proof, hash, NOW) {
                Ok(vm) => assert!(!vm.is_empty() && !vm.contains('.')),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    if let Err(error) = Voucher::from_pem(first) {
        keeps_secrets(&error);
    }
    if let Err(error) = Voucher::issue(first, &(*texts.get(1).unwrap_or(&"")).into(), NOW) {
        keeps_secrets(&error);
    }
    let certificate = first;
    let (private_key, roots) = (&(*texts.get(1).unwrap_or(&"")).into(), texts.get(2).copied());
    if let Err(error) = CertificateAuthority::open(AuthorityFiles { certificate, private_key, roots }, NOW) {
        keeps_secrets(&error);
    }
});

/// An answer that an agent accepts is one that its Envoy can use.
fn received(texts: &[&str], key: KeyHash) {
    let Ok(chain) = Chain::received(texts.iter().map(|text| (*text).to_owned()).collect()) else { return };
    match chain.check(key, NOW) {
        Ok(leaf) => {
            assert!(leaf.is_valid_at(NOW) && leaf.key == key);
            assert!(TrustBundle::from_pem(chain.roots_pem()).is_ok());
        }
        Err(error) => keeps_secrets(&error),
    }
}

fn keeps_secrets(error: &(impl Error + 'static)) {
    let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    for text in causes.map(ToString::to_string).chain([format!("{error:?}")]) {
        assert!(!text.contains(SECRET), "{text}");
    }
}
