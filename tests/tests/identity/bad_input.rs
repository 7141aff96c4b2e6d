//! What is wrong gets a clear answer where its owner looks, and costs nobody else anything.

use boshy_tests::{Authority, Director, Operated, until, with_own_network};

use crate::site::{NAME, ONE, SHOP, Site, TWO, assert_names, key};

#[test]
fn a_request_that_is_none_or_is_too_weak_is_refused_with_its_reason() {
    with_own_network(|| {
        let site = Site::new();
        for (csr, told) in [
            ("", "is no PEM CERTIFICATE REQUEST"),
            ("-----BEGIN CERTIFICATE REQUEST-----\nbm90aGluZw==\n-----END CERTIFICATE REQUEST-----\n", "is no PKCS#10"),
            (include_str!("requests/bad_signature.csr"), "its signature is wrong"),
            (include_str!("requests/weak_key.csr"), "is an RSA key of 1024 bits, and must have 2048 to 8192"),
            (&" ".repeat(20 << 10), "is longer than 16384 octets"),
        ] {
            let answer = site.sends(ONE.address, &site.shared, csr);
            site.assert_refused(ONE.address, answer, "bad_request", told);
        }
        assert_eq!(site.refused("bad_request"), 5);
        site.certifies(TWO);
        site.certifies(ONE);
    });
}

#[test]
fn a_caller_whose_certificate_is_expired_or_of_another_authority_is_turned_away() {
    with_own_network(|| {
        let site = Site::new();
        let of_another = Authority::new().agent().trusting(&site.shared);
        // A leaf that names the VM, but that another mesh has issued.
        let of_another_mesh = Site::new().certifies(ONE).trusting(&site.shared);
        for (papers, reason, told) in [
            (of_another, "untrusted", "Give this agent a certificate for clients"),
            (site.deployment.agent_of_old(), "expired", "Renew this agent's certificate"),
            (of_another_mesh, "untrusted", "Give this agent a certificate for clients"),
        ] {
            let before = site.turned_away(reason);
            let error = site.asks(ONE.address, &papers, &key()).unwrap_err();
            assert!(error.contains(told), "{error}");
            until("it is counted", || site.turned_away(reason), |count| *count > before);
        }
        assert_eq!(site.pilot.status()["identity"]["issued"], 0);
        site.certifies(ONE);
    });
}

#[test]
fn an_address_that_asks_all_the_time_costs_no_other_address_its_answer() {
    with_own_network(|| {
        let site = Site::new();
        until(
            "it is told to wait",
            || site.sends(ONE.address, &site.shared, "nonsense").unwrap_err(),
            |error| error.contains("too many requests came from this address"),
        );
        assert_names(&site.asks(TWO.address, &site.shared, &key()).unwrap(), TWO);
        assert_ne!(site.refused("rate"), 0);
    });
}

#[test]
fn a_ca_variable_that_is_no_ca_is_refused_when_the_pilot_starts_with_the_name_of_its_setting() {
    let (deployment, mesh, other) = (Authority::new(), Authority::new(), Authority::new());
    let director = Director::start();
    let pilot = || director.pilot().over_tls(&deployment.pilot(NAME));
    let leaf = deployment.agent();
    for (certificate, key, named, told) in [
        (leaf.read("certificate"), leaf.read("key"), "identity.ca_certificate_file", "is no certificate authority"),
        ("no certificate".to_owned(), mesh.key_pem(), "identity.ca_certificate_file", "holds no PEM certificate"),
        (mesh.pem(), other.key_pem(), "identity.ca_private_key_file", "does not belong to the CA certificate"),
        (mesh.pem(), "no key".to_owned(), "identity.ca_private_key_file", "is no PEM private key"),
    ] {
        let error = pilot().refuses_authority(&certificate, &key);
        assert!(error.contains(named) && error.contains(told), "{error}");
    }
}

#[test]
fn a_ca_that_has_expired_is_told_with_what_to_do_and_the_mesh_goes_on() {
    with_own_network(|| {
        let site = Site::issuing_by(Authority::of_old());
        site.pilot.shows("identities are lacking", |status| {
            let lack = &status["lacking"][0];
            lack["what"] == "identities"
                && lack["reason"].as_str().is_some_and(|told| told.contains("has expired"))
                && lack["remedy"].as_str().is_some_and(|told| told.starts_with("Renew the CA of `identity`"))
        });
        let answer = site.asks(ONE.address, &site.shared, &key());
        site.assert_refused(ONE.address, answer, "authority_expired", "has expired");
        site.pilot.serves(SHOP, 2);
    });
}
