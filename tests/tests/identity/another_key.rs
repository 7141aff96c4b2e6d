//! A VM has lost its key, and an operator lets it have another one.

use boshy_tests::{Operated, with_own_network};

use crate::site::{ONE, Site, TWO, assert_names, key};

#[test]
fn a_vm_that_has_lost_its_key_gets_a_certificate_of_another_one_when_an_operator_on_the_pilots_vm_says_so() {
    with_own_network(|| {
        let site = Site::new();
        assert_eq!(site.pilot.status()["identity"]["attestation"], "deployment");
        site.certifies(ONE);
        site.certifies(TWO);
        let next = key();
        let refused = site.asks(ONE.address, &site.shared, &next);
        let told = format!("run `boshy identity allow {}` on the VM of each pilot", ONE.instance);
        site.assert_refused(ONE.address, refused, "another_key", &told);

        let answer = site.pilot.allows(ONE.instance);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"known":1}"#), "{answer}");
        assert_names(&site.asks(ONE.address, &site.shared, &next).unwrap(), ONE);
        // It is one key for one VM, also for a pilot that was restarted.
        let site = Site { pilot: site.pilot.restarts(), ..site };
        site.pilot.is_ready();
        for vm in [ONE, TWO] {
            let refused = site.asks(vm.address, &site.shared, &key());
            site.assert_refused(vm.address, refused, "another_key", vm.agent_id);
        }
    });
}
