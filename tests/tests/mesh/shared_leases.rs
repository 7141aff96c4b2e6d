//! Several pilots share one table of virtual IPs, in the configs of the director.

use std::{net::Ipv4Addr, time::Duration};

use boshy_lab_director::{Account, Authentication, Fault};
use boshy_tests::{AgentPlan, Director, Manifest, Operated, Pilot};
use serde_json::Value;

use crate::{BLOG, SHOP};

/// Six usable addresses.
const TINY: &str = "10.99.0.0/29";
const NAMES: [&str; 5] = ["zebra", "tiger", "shark", "otter", "koala"];

fn host(deployment: &str) -> String {
    format!("app.web.{deployment}.boshy")
}

fn vips(pilot: &Pilot) -> [Ipv4Addr; 5] {
    NAMES.map(|name| pilot.vip(&host(name)))
}

/// Another pilot of the same mesh, on a machine of its own.
fn pilot(director: &Director) -> Pilot {
    director.pilot().leasing_from(TINY).sharing(100).sharing_leases().starts()
}

#[test]
fn pilots_that_learn_of_services_in_different_orders_give_the_same_addresses() {
    let director = Director::start();
    director.fails_at("POST /configs", Fault::LateConfig(Duration::from_millis(20)), None);
    let pilots = [pilot(&director), pilot(&director), pilot(&director)];
    // Five services for six addresses: later services find the address of their name taken.
    for name in NAMES {
        director.deploys(&Manifest::of(name));
        pilots[0].serves(&host(name), 1);
    }
    let agreed = vips(&pilots[0]);
    assert_eq!(pilots.each_ref().map(vips), [agreed; 3]);
    let late = pilot(&director);
    assert_eq!(vips(&late), agreed);
    assert_eq!(pilots.map(Pilot::restarts).each_ref().map(vips), [agreed; 3]);
}

#[test]
fn each_pilot_can_give_addresses_alone() {
    let director = Director::with([Manifest::of("shop")]);
    let (first, second) = (pilot(&director), pilot(&director));
    let shop = first.vip(SHOP);
    assert_eq!(second.vip(SHOP), shop);
    let first = first.stops();
    director.deploys(&Manifest::of("blog"));
    let blog = second.vip(BLOG);
    second.stops();
    let first = first.starts();
    assert_eq!((first.vip(SHOP), first.vip(BLOG)), (shop, blog));
}

#[test]
fn a_table_is_put_back_as_often_as_an_operator_deletes_it_and_no_address_moves() {
    let director = Director::start();
    let first = pilot(&director);
    for name in NAMES {
        director.deploys(&Manifest::of(name));
        first.serves(&host(name), 1);
    }
    let before = vips(&first);
    for _ in 0..3 {
        director.deletes_config("boshy-vips", "boshy");
        // And at once again, before a pilot has looked at what it put back.
        director.has_config("boshy-vips", "boshy");
    }
    assert_eq!(vips(&pilot(&director)), before);
    assert_eq!(vips(&first), before);
}

#[test]
fn a_pilot_whose_director_is_away_serves_the_agreed_addresses_from_disk() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = pilot(&director);
    let vip = pilot.is_ready().vip(SHOP);
    director.fails(Fault::ConnectionRefused);
    let pilot = pilot.restarts();
    assert_eq!(pilot.serves(SHOP, 1).vip(SHOP), vip);
    director.heals();
    pilot.is_ready();
    assert_eq!(pilot.vip(SHOP), vip);
}

#[test]
fn a_client_that_may_not_write_configs_keeps_what_is_agreed_and_says_what_it_lacks() {
    let clients = vec![Account::admin("mesh", "secret")];
    let director = Director::asking(Authentication::Uaa { clients, token_lifetime: Duration::from_secs(120) });
    director.deploys(&Manifest::of("shop"));
    let pilot = pilot(&director);
    let vip = pilot.is_ready().vip(SHOP);
    director.grants("mesh", &["bosh.read"]);
    director.deploys(&Manifest::of("blog"));
    pilot.shows("the missing right", |status| {
        let lacking = status["lacking"].as_array().into_iter().flatten();
        let mut shared = lacking.filter(|lack| lack["what"] == "shared_leases");
        shared.any(|lack| lack["remedy"].as_str().is_some_and(|remedy| remedy.contains("bosh.admin")))
    });
    assert_eq!(pilot.vip(SHOP), vip);
    pilot.lacks(BLOG);
    director.grants("mesh", &["bosh.admin"]);
    pilot.serves(BLOG, 1).is_content();
}

/// Whether a status names what lacks for this reason.
fn lacks(status: &Value, what: &str, reason: &str) -> bool {
    let mut lacking = status["lacking"].as_array().into_iter().flatten();
    lacking.any(|lack| lack["what"] == what && lack["reason"].as_str().is_some_and(|told| told.contains(reason)))
}

#[test]
fn an_agent_keeps_what_it_has_until_a_pilot_has_a_table_as_late_also_past_its_own_restart() {
    let director = Director::with([Manifest::of("shop")]);
    let (first, second) = (pilot(&director), pilot(&director));
    let shop = second.vip(SHOP);
    let second = second.stops();
    director.deploys(&Manifest::of("blog"));
    let blog = first.vip(BLOG);

    // The second pilot comes back without the director, with what is on its disk.
    director.fails(Fault::ConnectionRefused);
    let second = second.starts();
    assert_eq!(second.serves(SHOP, 1).lacks(BLOG).vip(SHOP), shop);
    let agent = AgentPlan::of([&first, &second]).starts();
    agent.answers(SHOP, shop).answers(BLOG, blog).follows(&first);
    first.stops();
    let agent = agent.stops().starts();
    agent.answers(BLOG, blog).answers(SHOP, shop).shows("why it has no pilot", |status| {
        status["pilot"]["error"].as_str().is_some_and(|error| error.contains("has version 1 of the leases"))
    });
    second.shows("it is behind", |status| lacks(status, "latest_leases", "agents know version 2"));
    director.heals();
    agent.follows(&second).answers(BLOG, blog).answers(SHOP, shop);
    second.shows("it is not behind", |status| !lacks(status, "latest_leases", ""));
    assert_eq!((second.vip(SHOP), second.vip(BLOG)), (shop, blog));
}
