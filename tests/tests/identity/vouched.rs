//! The last column of the table of attacks in docs/security.md: where the VM's BOSH agent has to vouch for a request.

use boshy_identity::{PrivateKey, Voucher};
use boshy_tests::{AGENT_IP, AgentPlan, Authority, Detour, Operated, with_own_network};
use secrecy::ExposeSecret;

use crate::site::{NAME, ONE, SHOP, Site, TWO, Vm, assert_names, key, now};

/// What root on a VM makes, before the agent starts.
fn voucher(ca: &Authority, vm: Vm) -> Voucher {
    let (certificate, key) = ca.bosh_agent(vm.agent_id);
    Voucher::issue(&certificate, &key.into(), now()).unwrap()
}

#[test]
fn the_deployments_certificate_and_the_address_are_not_enough_also_before_the_agent_has_a_key() {
    with_own_network(|| {
        let nats = Authority::new();
        let site = Site::asking_bosh_agents(&nats);
        let answer = site.asks(ONE.address, &site.shared, &key());
        site.assert_refused(ONE.address, answer, "no_proof", "set the property `attestation` of its virtual-ip-agent");

        // Another VM's BOSH agent, and one of another director.
        let answer = site.asks_vouched(ONE.address, &key(), &voucher(&nats, TWO));
        site.assert_refused(ONE.address, answer, "another_vm", TWO.agent_id);
        let answer = site.asks_vouched(ONE.address, &key(), &voucher(&Authority::new(), ONE));
        site.assert_refused(ONE.address, answer, "bad_proof", "the CA of the director's agents does not vouch for");

        let chain = site.asks_vouched(ONE.address, &key(), &voucher(&nats, ONE)).unwrap();
        assert_names(&chain, ONE);
    });
}

#[test]
fn a_vm_that_has_lost_its_key_comes_back_alone_and_a_certificate_renews_without_a_proof() {
    with_own_network(|| {
        let nats = Authority::new();
        let site = Site::asking_bosh_agents(&nats);
        let asks = |key: &PrivateKey| site.asks_vouched(ONE.address, key, &voucher(&nats, ONE)).unwrap();
        asks(&key());
        let again = key();
        let own = site.presenting(&asks(&again), &again);
        assert_names(&site.asks(ONE.address, &own, &key()).unwrap(), ONE);
    });
}

#[test]
fn what_an_operator_allows_is_no_way_around_the_bosh_agents_word_and_the_status_says_who_is_asked() {
    with_own_network(|| {
        let nats = Authority::new();
        let site = Site::asking_bosh_agents(&nats);
        assert_eq!(site.pilot.status()["identity"]["attestation"], "bosh-agent");
        site.asks_vouched(ONE.address, &key(), &voucher(&nats, ONE)).unwrap();
        let answer = site.pilot.allows(ONE.instance);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"known":1}"#), "{answer}");
        let refused = site.asks(ONE.address, &site.shared, &key());
        site.assert_refused(ONE.address, refused, "no_proof", "sends no proof of its BOSH agent");
        let refused = site.asks_vouched(ONE.address, &key(), &voucher(&nats, TWO));
        site.assert_refused(ONE.address, refused, "another_vm", TWO.agent_id);
        assert_names(&site.asks_vouched(ONE.address, &key(), &voucher(&nats, ONE)).unwrap(), ONE);
    });
}

#[test]
fn an_agent_proves_which_vm_it_is_on_by_what_root_left_for_it() {
    with_own_network(|| {
        let (nats, vm) = (Authority::new(), Vm { address: AGENT_IP, ..ONE });
        let site = Site::asking_bosh_agents(&nats);
        site.lists(&[vm]);
        let way = Detour::new(vm.address, site.pilot.xds_address());
        let plan = AgentPlan::of_pilot_at(&format!("https://{NAME}:{}", way.entrance().port()), &site.shared);
        let without = plan.starts();
        without.answers(SHOP, site.pilot.vip(SHOP)).shows("why it has no certificate", |status| {
            status["identity"]["error"].as_str().is_some_and(|told| told.contains("sends no proof of its BOSH agent"))
        });
        let agent = without.stops().vouched(voucher(&nats, vm).to_pem().expose_secret()).starts();
        agent.shows("it has a certificate", |status| status["identity"]["certificate"].is_object());
    });
}
