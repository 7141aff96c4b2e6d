//! A virtual IP stays with its name under all circumstances.

use std::{fs, net::Ipv4Addr, path::Path};

use boshy_lab_director::Fault;
use boshy_tests::{AgentPlan, Director, Manifest, Operated, until};
use serde_json::json;

use crate::{BLOG, SHOP};

/// Two usable addresses.
const TINY: &str = "10.99.0.0/30";

#[test]
fn virtual_ips_survive_a_restart_of_the_pilot() {
    let director = Director::start();
    let pilot = director.pilot().leasing_from("10.99.0.0/29").starts();
    // Six addresses for six services: later services find the address of their name taken.
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
fn leases_that_are_damaged_with_their_copy_are_refused_and_nothing_is_renumbered() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let vip = pilot.is_ready().vip(SHOP);
    let plan = pilot.stops();
    let good = fs::read(plan.lease_file()).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    // One damaged file costs nothing, and is as before after the next start.
    fs::write(plan.lease_file(), &damaged).unwrap();
    let pilot = plan.starts();
    assert_eq!(pilot.is_ready().vip(SHOP), vip);
    assert!(pilot.log().contains("nothing is lost, because its copy is not"), "{}", pilot.log());
    let plan = pilot.stops();
    until("the file is mended", || fs::read(plan.lease_file()).unwrap(), |file| *file == good);

    for file in [plan.lease_file(), plan.lease_file().with_extension("copy")] {
        fs::write(file, &damaged).unwrap();
    }
    let pilot = plan.clone().starts();
    pilot.waits_for("virtual IPs could not be leased yet, see `lacking`");
    let sentence = format!(
        "{} does not match its checksum; restore it, or move it away to derive addresses from names again",
        plan.lease_file().display()
    );
    assert!(pilot.log().contains(&sentence), "{}", pilot.log());
    pilot.shows("what is lacking", |status| {
        let lack = &status["lacking"][0];
        lack["what"] == "leases" && lack["reason"].as_str().is_some_and(|reason| reason.contains(&sentence))
    });
    pilot.measures("boshy_lacking{what=\"leases\"} 1");
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

#[test]
fn a_newcomer_with_the_name_of_another_gets_neither_its_name_nor_its_address_also_after_a_restart() {
    for (had, newcomer) in [("shop_a", "shop-a"), ("sample-deployment", "Sample-Deployment"), ("ab", "a.b")] {
        let director = Director::with([Manifest::of(had).instances(2)]);
        let mut pilot = director.pilot().starts();
        let host = format!("app.web.{}.boshy", had.replace('_', "-"));
        let vip = pilot.serves(&host, 2).vip(&host);
        director.deploys(&Manifest::of(newcomer).instances(1));
        for _ in 0..2 {
            let told = format!("has the mesh name {host} of deployment {had:?}");
            pilot.is_ready().shows("the newcomer is told", |status| {
                let problems = status["problems"].as_array().unwrap();
                problems.len() == 1
                    && problems[0]["place"]["deployment"] == newcomer
                    && problems[0]["reason"].as_str().unwrap().starts_with(&told)
            });
            assert_eq!(pilot.serves(&host, 2).vip(&host), vip);
            pilot = pilot.restarts();
        }
        director.deletes(had);
        pilot.serves(&host, 1).shows("nothing is to mend", |status| status["problems"] == json!([]));
        assert_ne!(pilot.vip(&host), vip, "the heir is another service");
    }
}

#[test]
fn a_lease_file_from_before_owners_keeps_every_address_and_the_first_facts_tell_whose_each_is() {
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/state/leases-without-owners");
    let director = Director::with([Manifest::of("shop_a"), Manifest::of("blog")]);
    let plan = director.pilot();
    fs::create_dir_all(plan.lease_file().parent().unwrap()).unwrap();
    fs::copy(written, plan.lease_file()).unwrap();
    let pilot = plan.starts();
    let (shop, other) = ("app.web.shop-a.boshy", "app.web.gone.boshy");
    let vip = Ipv4Addr::new(169, 254, 255, 23);
    assert_eq!((pilot.vip(shop), pilot.vip(BLOG)), (vip, Ipv4Addr::new(169, 254, 255, 1)));
    director.deploys(&Manifest::of("gone"));
    assert_eq!(pilot.vip(other), Ipv4Addr::new(169, 254, 255, 140), "what rested goes back to its name");
    director.deploys(&Manifest::of("shop-a").instances(3));
    pilot.shows("the newcomer is told", |status| status["problems"][0]["place"]["deployment"] == "shop-a");
    assert_eq!(pilot.serves(shop, 1).vip(shop), vip);
}

#[test]
fn one_deployment_leaves_addresses_to_those_after_it_and_is_told_so() {
    let director = Director::with([Manifest::of("big").jobs(30)]);
    let pilot = director.pilot().leasing_from("10.99.0.0/28").starts();
    pilot.shows("it has its share", |status| status["pool"]["held"] == 7).measures("boshy_vips_refused 23");
    let reason = pilot.status()["problems"][0]["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("has the 7 virtual IPs that one deployment may have now (vip_share: 50 percent"),
        "{reason}"
    );
    director.deploys(&Manifest::of("shop").jobs(3));
    pilot.vip(SHOP);
    // A deployment above a reduced share keeps its addresses.
    let pilot = pilot.stops().sharing(10).starts();
    pilot.is_ready().shows("nobody lost anything", |status| status["pool"]["held"] == 10);
    let pilot = pilot.stops().sharing(100).starts();
    pilot.shows("the rest is its own now", |status| status["pool"]["held"] == 14);
}

#[test]
fn a_disk_that_takes_nothing_costs_new_services_their_address_and_nothing_else() {
    let director = Director::with([Manifest::of("shop"), Manifest::of("zoo")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let (shop, zoo) = (pilot.vip(SHOP), pilot.vip("app.web.zoo.boshy"));
    agent.answers(SHOP, shop).answers("app.web.zoo.boshy", zoo);
    pilot.without_disk(|| {
        director.deploys(&Manifest::of("blog")).deploys(&Manifest::of("shop").instances(3)).deletes("zoo");
        pilot.serves(SHOP, 3).lacks("app.web.zoo.boshy").is_ready();
        assert_eq!(pilot.vip(SHOP), shop);
        agent.denies("app.web.zoo.boshy").answers(SHOP, shop).denies(BLOG);
        pilot
            .shows("what waits for the disk is named", |status| {
                status["pool"]["unwritten"] == json!([BLOG]) && status["lacking"][0]["what"] == "leases"
            })
            .measures("boshy_vips_unwritten 1")
            .measures("boshy_lacking{what=\"leases\"} 1");
    });
    let blog = pilot.vip(BLOG);
    agent.answers(BLOG, blog);
    pilot.shows("nothing is lacking", |status| status["lacking"] == json!([]));
    let pilot = pilot.restarts();
    assert_eq!((pilot.vip(SHOP), pilot.serves(SHOP, 3).vip(BLOG)), (shop, blog));
}

#[test]
fn what_is_no_file_in_place_of_the_leases_is_refused_and_in_place_of_the_facts_left_aside() {
    let director = Director::with([Manifest::of("shop")]);
    let plan = director.pilot();
    let (leases, facts) = (plan.lease_file(), plan.facts_file());
    fs::create_dir_all(leases.parent().unwrap()).unwrap();
    nix::unistd::mkfifo(&leases, nix::sys::stat::Mode::S_IRWXU).unwrap();
    nix::unistd::mkfifo(&facts, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pilot = plan.starts();
    pilot.waits_for("see `lacking`").shows("the file is named", |status| {
        let reason = status["lacking"][0]["reason"].as_str().unwrap_or_default();
        reason.contains("is a FIFO where a regular file should be") && reason.contains(leases.to_str().unwrap())
    });
    fs::remove_file(&leases).unwrap();
    pilot.is_ready().vip(SHOP);
}

#[test]
fn a_second_pilot_does_not_start_with_the_state_directory_of_another() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    pilot.is_ready();
    let refusal = pilot.plan().refuses_to_start().unwrap();
    assert!(refusal.contains("another pilot uses it"), "{refusal}");
    assert_eq!(pilot.restarts().is_ready().plan().refuses_to_start(), Some(refusal));
}
