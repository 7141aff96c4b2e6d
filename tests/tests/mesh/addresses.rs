//! Tests at which address an instance is reached, and what a director's invalid rows affect.

use boshy_tests::{Director, Manifest, Operated};
use serde_json::{Value, json};

use crate::{BLOG, SHOP};

fn row(index: u32, ips: &Value, made: &str) -> Value {
    json!({
        "agent_id": format!("agent-{index}"), "cid": "vm", "job": "web", "index": index, "id": format!("id-{index}"), "az": "z1", "ips": ips,
        "vm_created_at": format!("2026-11-23T15:13:{made}Z"), "expects_vm": true,
    })
}

fn networks(text: &str) -> String {
    Manifest::of("shop").text().replace("networks: [{name: default}]", &format!("networks: {text}"))
}

#[test]
fn a_prefix_a_vip_and_values_that_are_none_cost_no_endpoint_of_another() {
    let director = Director::with([Manifest::of("shop"), Manifest::of("blog")]);
    let pilot = director.pilot().starts();
    pilot.serves(SHOP, 1).serves(BLOG, 1);
    let odd = json!([
        row(0, &json!(["10.20.0.16/28", "10.244.7.1"]), "34"),
        row(1, &json!(["fd00:1::/80", "fd00::5"]), "34"),
        row(2, &json!(["3.120.7.9", "10.244.7.3"]), "34"),
        row(3, &json!(["nowhere"]), "34"),
        row(4, &json!(["127.0.0.1", "169.254.0.2", "224.0.0.1"]), "34"),
        row(5, &Value::Null, "34"),
        {"job": "web", "index": "odd", "id": "id-6", "az": 7, "ips": ["10.244.7.7"], "expects_vm": true, "new": {}},
        {"id": "id-8", "ips": ["10.244.7.9"], "expects_vm": true},
    ]);
    director.shows_instances("shop", &odd);
    pilot.serves(BLOG, 1).shows("four are endpoints", |status| {
        let services = status["services"].as_array().unwrap();
        let shop = services.iter().find(|service| service["host"] == SHOP).unwrap();
        let mut ips: Vec<_> =
            shop["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint["ip"].as_str().unwrap()).collect();
        ips.sort_unstable();
        ips == ["10.244.7.1", "10.244.7.3", "10.244.7.7", "fd00::5"]
    });
    for part in ["nowhere", "127.0.0.1", "169.254.0.2", "224.0.0.1", "`az`", "`index`", "no `job`"] {
        pilot.tells(&["shop", part]);
    }
}

#[test]
fn an_address_that_another_deployment_has_by_now_leads_there_alone_and_over_a_restart_of_the_pilot() {
    let director = Director::with([Manifest::of("shop"), Manifest::of("blog")]);
    let pilot = director.pilot().starts();
    director
        .shows_instances("shop", &json!([row(0, &json!(["10.244.7.1"]), "10"), row(1, &json!(["10.244.7.2"]), "10")]));
    pilot.serves_at(SHOP, &["10.244.7.1", "10.244.7.2"]);
    let blog = |made| {
        json!([{
            "job": "web", "index": 0, "id": "blog-0", "agent_id": "other", "az": "z1", "ips": ["10.244.7.1"],
            "vm_created_at": made, "expects_vm": true,
        }])
    };
    for made in [json!("2026-11-23T15:13:20Z"), Value::Null] {
        director.shows_instances("blog", &blog(made));
        pilot.serves_at(BLOG, &["10.244.7.1"]).serves_at(SHOP, &["10.244.7.2"]);
        pilot.tells(&["shop", "10.244.7.1", "blog"]);
    }
    // The facts of the previous process show which claim is newer.
    let pilot = pilot.restarts();
    pilot.serves_at(BLOG, &["10.244.7.1"]).serves_at(SHOP, &["10.244.7.2"]).tells(&["shop", "10.244.7.1", "blog"]);
}

#[test]
fn records_of_the_pilots_vm_tell_the_address_of_the_default_network() {
    let director = Director::with([Manifest::of("shop")]);
    director.shows_manifest("shop", &networks("[{name: a}, {name: b, default: [dns, gateway]}]"));
    director
        .shows_instances("shop", &json!([row(0, &json!(["10.0.0.5", "10.1.0.5"]), "10"), row(1, &json!([]), "10")]));
    let records = json!({
        "version": 1,
        "record_keys": ["id", "instance_group", "network", "deployment", "ip", "agent_id"],
        "record_infos": [
            ["id-0", "web", "a", "shop", "10.0.0.5", "agent-0"],
            ["id-0", "web", "b", "shop", "10.1.0.5", "agent-0"],
            ["id-1", "web", "b", "shop", "10.1.0.6", "agent-1"],
            ["id-9", "web", "b", "shop", "10.1.0.9", "agent-9"],
            [null],
        ],
    });
    director.pilot().with_records(&records.to_string()).starts().serves_at(SHOP, &["10.1.0.5", "10.1.0.6"]);
    director.pilot().starts().serves_at(SHOP, &["10.0.0.5"]);
}

#[test]
fn instances_stay_endpoints_while_a_deploy_renames_their_group() {
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    let rows = |group: &str| {
        let mut rows = json!([row(0, &json!(["10.244.7.1"]), "10"), row(1, &json!(["10.244.7.2"]), "10")]);
        rows.as_array_mut().unwrap().iter_mut().for_each(|row| row["job"] = json!(group));
        rows
    };
    director.shows_instances("shop", &rows("web"));
    pilot.serves_at(SHOP, &["10.244.7.1", "10.244.7.2"]);
    let generation = pilot.generation();
    director.shows_instances("shop", &rows("frontend"));
    director.deploys(&Manifest::of("blog"));
    pilot.serves(BLOG, 1).serves_at(SHOP, &["10.244.7.1", "10.244.7.2"]);
    assert_eq!(pilot.generation(), generation + 1, "only the other deployment was news");
    let pilot = pilot.restarts();
    pilot.is_ready().serves_at(SHOP, &["10.244.7.1", "10.244.7.2"]);
    director.shows_manifest("shop", &Manifest::of("shop").text().replace("name: web", "name: frontend"));
    pilot.serves_at("app.frontend.shop.boshy", &["10.244.7.1", "10.244.7.2"]).lacks(SHOP);
}
