//! A virtual IP belongs to its name for as long as anything can be done about it.

use std::fs;

use boshy_director::embedded::Fault;
use boshy_tests::{AgentPlan, Director, Manifest, Operated};
use serde_json::json;

use crate::{BLOG, SHOP};

/// Two usable addresses.
const TINY: &str = "10.99.0.0/30";

#[test]
fn virtual_ips_survive_a_restart_of_the_pilot() {
    let director = Director::start();
    let pilot = director.pilot().leasing_from("10.99.0.0/29").starts();
    // Six addresses for six services: who comes later finds the address of its name taken.
    let vips = ["zebra", "tiger", "shark", "otter", "koala", "bison"].map(|name| {
        director.deploys(&Manifest::of(name));
        let host = format!("app.web.{name}.boshy");
        (pilot.vip(&host), host)
    });
    let pilot = pilot.restarts();
    pilot.is_ready();
    assert_eq!(vips.clone().map(|(_, host)| (pilot.vip(&host), host)), vips);
    let forgetful = director.pilot().leasing_from("10.99.0.0/29").starts();
    let anew = vips.clone().map(|(_, host)| (forgetful.vip(&host), host));
    assert_ne!(anew, vips, "the file kept them, not the names alone");
}

#[test]
fn a_pilot_restarted_while_the_director_is_down_serves_from_disk_and_says_that_it_is_not_ready() {
    let director = Director::with([Manifest::of("shop").instances(2)]);
    let pilot = director.pilot().starts();
    let vip = pilot.is_ready().vip(SHOP);
    director.fails(Fault::ConnectionRefused);
    let pilot = pilot.restarts();
    pilot.serves(SHOP, 2).complains("refused").waits_for("the director was not read completely yet");
    assert_eq!(pilot.vip(SHOP), vip);
    let agent = AgentPlan::of([&pilot]).starts();
    agent.answers(SHOP, vip);
    director.heals();
    pilot.is_ready();
    assert_eq!(pilot.vip(SHOP), vip);
}

#[test]
fn a_damaged_lease_file_is_refused_and_nothing_is_renumbered() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let vip = pilot.is_ready().vip(SHOP);
    let plan = pilot.stops();
    let good = fs::read(plan.lease_file()).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    fs::write(plan.lease_file(), &damaged).unwrap();

    let pilot = plan.clone().starts();
    pilot.waits_for("virtual IPs could not be leased yet, see the log");
    let sentence = format!(
        "{} does not match its checksum; restore it, or move it away to derive addresses from names again",
        plan.lease_file().display()
    );
    assert!(pilot.log().contains(&sentence), "{}", pilot.log());
    assert_eq!(pilot.get("/v1/registration").status, 503);
    assert_eq!(fs::read(plan.lease_file()).unwrap(), damaged, "what may be mended is not overwritten");

    fs::write(plan.lease_file(), &good).unwrap();
    pilot.is_ready();
    assert_eq!(pilot.vip(SHOP), vip);
}

#[test]
fn when_the_range_is_exhausted_only_the_services_that_came_last_are_missing() {
    let director = Director::with([Manifest::of("shop"), Manifest::of("blog")]);
    let pilot = director.pilot().leasing_from(TINY).starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let (shop, blog) = (pilot.vip(SHOP), pilot.vip(BLOG));
    director.deploys(&Manifest::of("atlas")).deploys(&Manifest::of("zebra"));
    let late = ["app.web.atlas.boshy", "app.web.zebra.boshy"];
    pilot
        .shows("who is refused is named", |status| status["pool"]["refused"] == json!(late))
        .measures("boshy_vips_refused 2")
        .measures("boshy_vips_held 2");
    agent.answers(SHOP, shop).answers(BLOG, blog).denies(late[0]).denies(late[1]);
}
