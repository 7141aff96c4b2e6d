//! The table of attacks in docs/security.md: a test for each row that is stopped, with the row's words as its name.

use std::{fs, io::Read};

use boshy_tests::{Detour, Operated, until, with_own_network};

use crate::site::{NAME, NOWHERE, ONE, Site, TWO, Vm, assert_names, key};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");

#[test]
fn each_row_that_is_stopped_has_its_test() {
    let (document, tests) = (fs::read_to_string(DOCUMENT).unwrap(), include_str!("threats.rs"));
    let rows = document.lines().skip_while(|line| !line.starts_with("| attack |")).skip(2);
    let mut stopped = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if cells[1..].iter().all(|cell| *cell == "not stopped") {
            continue;
        }
        let name = cells[0].to_lowercase().replace("'s", "s").replace(' ', "_");
        assert!(tests.contains(&format!("fn {name}()")), "no test is named {name}");
        stopped += 1;
    }
    assert!(stopped >= 5, "the table was not found");
}

#[test]
fn a_vm_without_any_certificate_asks() {
    with_own_network(|| {
        let site = Site::new();
        let way = Detour::new(ONE.address, site.pilot.xds_address());
        let mut bare = site.deployment.dial(way.entrance(), NAME, &[b"h2"]);
        assert!(bare.read(&mut [0; 64]).is_err(), "a client without a certificate is talked to");
        until("it is counted", || site.turned_away("no_certificate"), |count| *count == 1);
        site.certifies(ONE);
    });
}

#[test]
fn a_vm_of_the_mesh_asks_for_anothers_identity() {
    with_own_network(|| {
        let site = Site::new();
        // What it writes into its request is not looked at.
        let wish = include_str!("requests/names_of_another.csr");
        let own = site.sends(ONE.address, &site.shared, wish).unwrap();
        assert_names(&own, ONE);

        // Another's address is not its own, and another's certificate needs another's address.
        let others = site.certifies(TWO);
        let answer = site.asks(ONE.address, &others, &key());
        let told =
            format!("the certificate of {}.boshy was presented from an address of {}", TWO.instance, ONE.instance);
        site.assert_refused(ONE.address, answer, "another_instance", &told);
    });
}

#[test]
fn a_process_that_reads_the_deployments_certificate_asks_from_its_own_vm() {
    with_own_network(|| {
        let site = Site::new();
        // Before the agent has a key, it gets what the VM is, and nobody else.
        let (early, agent) = (key(), key());
        assert_names(&site.asks(ONE.address, &site.shared, &early).unwrap(), ONE);
        let refused = site.asks(ONE.address, &site.shared, &agent);
        site.assert_refused(ONE.address, refused, "another_key", "run `boshy identity allow");

        // Once the agent has one, nobody else gets any, also not from a pilot that was restarted.
        site.certifies(TWO);
        let late = site.asks(TWO.address, &site.shared, &key());
        site.assert_refused(TWO.address, late, "another_key", TWO.agent_id);
        let site = Site { pilot: site.pilot.restarts(), ..site };
        site.pilot.is_ready();
        let late = site.asks(TWO.address, &site.shared, &key());
        site.assert_refused(TWO.address, late, "another_key", TWO.agent_id);
    });
}

#[test]
fn a_machine_takes_over_the_address_of_a_vm_of_the_mesh() {
    with_own_network(|| {
        let site = Site::new();
        site.certifies(ONE);
        let taken = site.asks(ONE.address, &site.shared, &key());
        site.assert_refused(ONE.address, taken, "another_key", ONE.instance);
        // An address of its own is of no use to it.
        let own = site.asks(NOWHERE, &site.shared, &key());
        site.assert_refused(
            NOWHERE,
            own,
            "unknown_address",
            "the director lists no instance with the address 10.244.0.99",
        );
    });
}

#[test]
fn a_vm_gets_the_address_of_a_deleted_one_before_the_director_says_so() {
    with_own_network(|| {
        let site = Site::new();
        site.certifies(TWO);
        let (new, key) = (Vm { address: TWO.address, instance: "new-instance", agent_id: "new-agent" }, key());
        let early = site.asks(new.address, &site.shared, &key);
        site.assert_refused(new.address, early, "another_key", TWO.instance);
        site.lists(&[ONE, new]);
        assert_names(&site.asks(new.address, &site.shared, &key).unwrap(), new);
    });
}
