//! Tests what runtime and cloud configs add.

use std::fs;

use boshy_lab_director::Fault;
use boshy_tests::{Director, Manifest, Operated, until};
use serde_json::{Value, json};

use crate::{BLOG, SHOP};

const SHOP_METRICS: &str = "exporter.web.shop.boshy";
const BLOG_METRICS: &str = "exporter.web.blog.boshy";

/// A runtime config whose addon adds a job with a port.
fn exposing(filter: &str, port: u16) -> String {
    format!(
        "
releases: [{{name: metrics, version: 1}}]
addons:
- name: metrics
  {filter}
  jobs: [{{name: exporter, release: metrics, expose_ports: [{{name: metrics, number: {port}}}]}}]
"
    )
}

fn ports(status: &Value, host: &str) -> Vec<u64> {
    let services = status["services"].as_array().into_iter().flatten().filter(|service| service["host"] == host);
    let ports = services.filter_map(|service| service["ports"].as_array()).flatten();
    ports.filter_map(|port| port["number"].as_u64()).collect()
}

#[test]
fn jobs_of_runtime_configs_become_services_where_and_when_a_deploy_brings_them() {
    let director = Director::with([Manifest::of("shop"), Manifest::of("blog")]);
    let pilot = director.pilot().starts();
    pilot.serves(SHOP, 1).serves(BLOG, 1);
    director.configures("runtime", "default", &exposing("include: {deployments: [shop]}", 9100));
    director.deploys(&Manifest::of("blog").instances(2));
    pilot.serves(BLOG, 2).lacks(SHOP_METRICS).lacks(BLOG_METRICS);
    director.deploys(&Manifest::of("shop").instances(2));
    pilot.serves(SHOP_METRICS, 2).serves(SHOP, 2).lacks(BLOG_METRICS);

    // A second config with another name, and a newer version of the first, which `shop` does not use yet.
    let by_job = exposing("include: {jobs: [{name: app, release: sample}]}\n  exclude: {deployments: [shop]}", 9300);
    director.configures("runtime", "more", &by_job);
    director.configures("runtime", "default", &exposing("include: {deployments: [shop]}", 9200));
    director.deploys(&Manifest::of("blog").instances(3));
    pilot.serves(BLOG_METRICS, 3);
    assert_eq!((ports(&pilot.status(), SHOP_METRICS), ports(&pilot.status(), BLOG_METRICS)), (vec![9100], vec![9300]));
    let pilot = pilot.restarts();
    pilot.is_ready().serves(SHOP_METRICS, 2).serves(BLOG_METRICS, 3);
    assert_eq!((ports(&pilot.status(), SHOP_METRICS), ports(&pilot.status(), BLOG_METRICS)), (vec![9100], vec![9300]));

    director.deploys(&Manifest::of("shop").instances(1));
    pilot.shows("the newer version is in force", |status| ports(status, SHOP_METRICS) == [9200]);
    director.configures("runtime", "default", "addons: []").deploys(&Manifest::of("shop").instances(2));
    pilot.serves(SHOP, 2).lacks(SHOP_METRICS);
}

#[test]
fn what_has_no_effect_in_a_runtime_config_is_told_with_config_addon_and_job() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    pilot.serves(SHOP, 1);
    for (name, job) in [
        ("default", "{name: exporter, release: r, expose_port: [{name: m, number: 1}]}"),
        ("named", "{name: exporter, release: r, properties: {expose_ports: [{name: m, number: 1}]}}"),
        ("wrong", "{name: exporter, release: r, expose_ports: [{name: m, number: 0}]}"),
    ] {
        director.configures("runtime", name, &format!("addons: [{{name: metrics, jobs: [{job}]}}]"));
        pilot.tells(&[r#""type":"runtime""#, name, "metrics", "exporter", "expose_port"]);
    }
    director.deploys(&Manifest::of("shop").instances(2));
    pilot.serves(SHOP, 2).lacks(SHOP_METRICS);
}

#[test]
fn configs_that_cannot_be_read_cost_what_they_bring_and_nothing_else() {
    let director = Director::with([Manifest::of("shop")]);
    director.configures("runtime", "default", &exposing("", 9100)).deploys(&Manifest::of("blog"));
    director.fails_at("GET /configs", Fault::Status(401), None);
    let pilot = director.pilot().starts();
    pilot.is_ready().serves(SHOP, 1).serves(BLOG, 1).lacks(BLOG_METRICS);
    let without = |status: &Value| {
        let lacking = status["lacking"].as_array().unwrap();
        lacking.iter().any(|lack| lack["what"] == "configs" && lack["remedy"].as_str().unwrap().contains("bosh.read"))
    };
    pilot.shows("what is lacking", without);
    director.heals();
    pilot.serves(BLOG_METRICS, 1).shows("nothing is lacking", |status| !without(status));
    director.fails_at("GET /configs", Fault::Status(401), None);
    director.fails_at("GET /deployment_configs", Fault::Status(401), None);
    // Facts are written while they are published.
    let on_disk = || fs::read_to_string(pilot.plan().facts_file()).unwrap_or_default();
    until("the facts are on disk", on_disk, |facts| facts.contains("exporter"));
    let pilot = pilot.restarts();
    pilot.shows("what is lacking", without).serves(BLOG_METRICS, 1);
    director.deploys(&Manifest::of("blog").instances(2));
    pilot.serves(BLOG, 2).serves(BLOG_METRICS, 2);
}

#[test]
fn cloud_configs_tell_which_address_is_in_the_default_network() {
    let networks =
        |text: &str| Manifest::of("shop").text().replace("networks: [{name: default}]", &format!("networks: {text}"));
    let row = |ips: &[&str]| {
        json!([{"agent_id": "agent", "cid": "vm", "job": "web", "index": 0, "id": "id", "az": "z1", "ips": ips,
                "vm_created_at": "2026-11-23T15:13:10Z", "expects_vm": true}])
    };
    let director = Director::with([Manifest::of("shop")]);
    director.shows_manifest("shop", &networks("[{name: a}, {name: b, default: [dns, gateway]}]"));
    director.shows_instances("shop", &row(&["10.0.0.5", "10.1.0.5"]));
    let pilot = director.pilot().starts();
    pilot.serves_at(SHOP, &["10.0.0.5"]);
    let cloud = "
networks:
- {name: a, type: manual, subnets: [{range: 10.0.0.0/24, gateway: 10.0.0.1}]}
- {name: b, type: manual, subnets: [{range: 10.1.0.0/24, gateway: 10.1.0.1}, {range: 52.0.0.0/24, gateway: 52.0.0.1}]}
- {name: elastic, type: vip, subnets: [{static: [10.9.9.9]}]}
";
    director.configures("cloud", "more", cloud);
    pilot.serves_at(SHOP, &["10.1.0.5"]);
    // An elastic address in addition to a network of public addresses.
    director.shows_manifest("shop", &networks("[{name: elastic}, {name: b, default: [dns, gateway]}]"));
    director.shows_instances("shop", &row(&["10.9.9.9", "52.0.0.7"]));
    pilot.serves_at(SHOP, &["52.0.0.7"]);
    director.fails_at("GET /configs", Fault::Status(500), None);
    pilot.restarts().is_ready().serves_at(SHOP, &["52.0.0.7"]);
}
