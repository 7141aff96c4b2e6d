//! A manifest that cannot be parsed costs its own deployment news, and affects no other.

use boshy_tests::{AgentPlan, Director, Manifest, Operated};

use crate::{BLOG, SHOP};

/// More than the limit for one manifest, in bytes.
const TOO_LARGE: usize = 9 << 20;

/// Checks that `shop` keeps its last good facts, `/status` gives the reason, and `blog` keeps changing.
fn keeps_its_last_good_facts(spoil: impl FnOnce(&Director), named: &[&str]) {
    let director = Director::with([Manifest::of("shop").instances(2), Manifest::of("blog")]);
    let pilot = director.pilot().starts();
    let agent = AgentPlan::of([&pilot]).starts();
    let vip = pilot.is_ready().serves(SHOP, 2).vip(SHOP);
    spoil(&director);
    pilot.shows("the deployment's error is named", |status| {
        let shop = &status["deployments"][1];
        let error = shop["error"].as_str().unwrap_or_default();
        shop["name"] == "shop" && named.iter().all(|part| error.contains(part))
    });
    pilot.measures(r#"boshy_deployment_failing{deployment="shop"} 1"#);
    director.deploys(&Manifest::of("blog").instances(3));
    pilot.serves(BLOG, 3).serves(SHOP, 2).is_ready().is_content();
    agent.answers(SHOP, vip);
    assert!(pilot.status()["deployments"][0]["error"].is_null());
    director.deploys(&Manifest::of("shop").instances(1));
    pilot.serves(SHOP, 1).measures(r#"boshy_deployment_failing{deployment="shop"} 0"#);
}

fn alias_bomb() -> String {
    let level = |depth: u32| format!("l{depth}: &l{depth} [{}]\n", vec![format!("*l{}", depth - 1); 10].join(", "));
    let levels: String = (1..10).map(level).collect();
    format!("l0: &l0 [x]\n{levels}instance_groups: *l9\n")
}

#[test]
fn a_manifest_that_is_no_yaml() {
    let spoil = |director: &Director| {
        director.shows_manifest("shop", "instance_groups: [}");
    };
    keeps_its_last_good_facts(spoil, &[r#"deployment "shop""#, "manifest", "YAML line 1"]);
}

#[test]
fn a_manifest_whose_aliases_expand_without_end() {
    let spoil = |director: &Director| {
        director.shows_manifest("shop", &alias_bomb());
    };
    keeps_its_last_good_facts(spoil, &[r#"deployment "shop""#, "manifest", "YAML line"]);
}

#[test]
fn a_manifest_that_is_too_large() {
    let spoil = |director: &Director| {
        director.shows_manifest("shop", &" ".repeat(TOO_LARGE));
    };
    keeps_its_last_good_facts(spoil, &[r#"deployment "shop""#, "manifest", "9437184 bytes"]);
}

#[test]
fn a_wrong_type_under_expose_ports() {
    let spoil = |director: &Director| {
        director.deploys(&Manifest::of("shop").instances(2).exposing("{name: http, number: 8080}"));
    };
    keeps_its_last_good_facts(
        spoil,
        &[
            r#"deployment "shop""#,
            r#"instance group "web""#,
            r#"job "app""#,
            "expose_ports",
            "must be a list, is a map",
        ],
    );
}

#[test]
fn a_variable_in_place_of_a_port() {
    let spoil = |director: &Director| {
        director.deploys(&Manifest::of("shop").instances(2).exposing("[{name: http, number: ((port))}]"));
    };
    keeps_its_last_good_facts(
        spoil,
        &[r#"deployment "shop""#, r#"instance group "web""#, r#"job "app""#, "expose_ports[0].number", "((variable))"],
    );
}
