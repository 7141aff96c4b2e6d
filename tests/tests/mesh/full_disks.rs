//! A disk that refuses writes because it is full, has no free inode, or is read-only: what needs no disk keeps working,
//! and the reason is reported.

use boshy_tests::{
    AgentPlan, Director, Manifest, Operated,
    volume::{Refusal, Volume},
    with_own_mounts,
};
use serde_json::{Value, json};

use crate::{BLOG, SHOP};

const ZOO: &str = "app.web.zoo.boshy";

/// Whether a resource is missing for this reason.
fn lacks(status: &Value, what: &str, reason: &str) -> bool {
    let lacking = status["lacking"].as_array().expect("a list");
    lacking.iter().any(|lack| lack["what"] == what && lack["reason"].as_str().is_some_and(|told| told.contains(reason)))
}

/// A pilot whose disk refuses writes when a new service appears, and accepts them again later, also across a restart in
/// between.
fn costs_the_pilot_no_more_than_new_addresses(how: Refusal, restart: bool) {
    let director = Director::with([Manifest::of("shop"), Manifest::of("zoo")]);
    let volume = Volume::new();
    let pilot = director.pilot().on(&volume).starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let shop = pilot.vip(SHOP);
    agent.answers(SHOP, shop).answers(ZOO, pilot.vip(ZOO));
    volume.refuses(how);
    director.deploys(&Manifest::of("blog")).deploys(&Manifest::of("shop").instances(3)).deletes("zoo");
    let told = |status: &Value| {
        status["pool"]["unwritten"] == json!([BLOG])
            && lacks(status, "leases", how.words())
            && lacks(status, "facts", how.words())
    };
    pilot.serves(SHOP, 3).lacks(ZOO).is_ready().shows("what waits for the disk is named", told);
    agent.denies(ZOO).answers(SHOP, shop).denies(BLOG);
    let metrics = ["boshy_vips_unwritten 1", "boshy_lacking{what=\"leases\"} 1", "boshy_lacking{what=\"facts\"} 1"];
    for line in metrics {
        pilot.measures(line);
    }
    let pilot = if restart { pilot.restarts() } else { pilot };
    pilot.serves(SHOP, 3).is_ready().shows("what waits for the disk is named", told);
    assert_eq!(pilot.vip(SHOP), shop);

    volume.takes_again(how);
    let blog = pilot.vip(BLOG);
    // A directory that could not be claimed at the start is reported until the next start.
    pilot.shows("nothing is lacking of what can be had", |status| {
        status["lacking"].as_array().expect("a list").iter().all(|lack| lack["what"] == "state_dir")
    });
    let pilot = pilot.restarts();
    assert_eq!((pilot.vip(SHOP), pilot.serves(SHOP, 3).vip(BLOG)), (shop, blog));
    pilot.lacks(ZOO).shows("nothing is lacking", |status| status["lacking"] == json!([]));
    assert_eq!(volume.litter(&["inventory", "inventory.copy", "leases", "leases.copy", "lock"]), [""; 0]);
}

#[test]
fn a_disk_that_takes_nothing_costs_the_pilot_no_more_than_the_addresses_of_new_services() {
    with_own_mounts(|| Refusal::ALL.into_iter().for_each(|how| costs_the_pilot_no_more_than_new_addresses(how, false)));
}

#[test]
fn a_pilot_that_starts_on_a_disk_that_takes_nothing_serves_what_stands_there() {
    with_own_mounts(|| Refusal::ALL.into_iter().for_each(|how| costs_the_pilot_no_more_than_new_addresses(how, true)));
}

#[test]
fn a_disk_that_takes_nothing_costs_a_pilot_that_shares_its_leases_no_more_than_new_addresses() {
    with_own_mounts(|| {
        for how in Refusal::ALL {
            let director = Director::with([Manifest::of("shop"), Manifest::of("zoo")]);
            let volume = Volume::new();
            let pilot = director.pilot().sharing_leases().on(&volume).starts();
            let (shop, _) = (pilot.vip(SHOP), pilot.vip(ZOO));
            volume.refuses(how);
            director.deploys(&Manifest::of("blog")).deploys(&Manifest::of("shop").instances(3)).deletes("zoo");
            pilot.serves(SHOP, 3).lacks(ZOO).is_ready().shows("what waits for the disk is named", |status| {
                status["pool"]["unwritten"] == json!([BLOG]) && lacks(status, "shared_leases", how.words())
            });
            let pilot = pilot.restarts();
            assert_eq!(pilot.serves(SHOP, 3).is_ready().vip(SHOP), shop);
            volume.takes_again(how);
            let blog = pilot.vip(BLOG);
            let pilot = pilot.restarts();
            assert_eq!((pilot.vip(SHOP), pilot.serves(SHOP, 3).vip(BLOG)), (shop, blog));
        }
    });
}

#[test]
fn a_disk_that_takes_nothing_costs_the_agent_no_name_and_no_word_to_its_pilot() {
    with_own_mounts(|| {
        for how in Refusal::ALL {
            let director = Director::with([Manifest::of("shop")]);
            let pilot = director.pilot().starts();
            let volume = Volume::new();
            let agent = AgentPlan::of([&pilot]).on(&volume).starts();
            agent.answers(SHOP, pilot.vip(SHOP)).keeps(SHOP);
            volume.refuses(how);
            director.deploys(&Manifest::of("blog"));
            agent.answers(BLOG, pilot.vip(BLOG)).is_ready();
            agent.shows("the disk is lacking", |status| lacks(status, "disk", how.words()));
            agent.measures("boshy_lacking{what=\"disk\"} 1");
            pilot.shows("the agent has accepted all", |status| {
                let now = &status["convergence"];
                now["behind"] == 0 && now["generation"] == status["snapshot"]["generation"]
            });
            // A fresh start finds the state written before.
            let agent = agent.stops().starts();
            agent.answers(SHOP, pilot.vip(SHOP)).answers(BLOG, pilot.vip(BLOG));
            volume.takes_again(how);
            agent.keeps(BLOG).shows("nothing is lacking", |status| status["lacking"] == json!([]));
            assert_eq!(volume.litter(&["relay", "relay.copy", "relay.changes", "relay.changes.copy"]), [""; 0]);
        }
    });
}
