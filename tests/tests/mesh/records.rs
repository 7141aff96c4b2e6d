//! `records.json` of the pilot's VM tells of instances before the director was asked, and while it is away.

use boshy_lab_director::Fault;
use boshy_tests::{Director, Manifest, Operated};
use serde_json::{Value, json};

use crate::SHOP;

/// Number, agent and address of an instance.
type Line = (u32, &'static str, &'static str);

const FIRST: Line = (0, "agent-0", "10.244.7.1");
const SECOND: Line = (1, "agent-1", "10.244.7.2");
const MOVED: Line = (0, "agent-2", "10.244.7.9");

fn rows(lines: &[Line]) -> Value {
    let row = |(index, agent, ip): &Line| {
        json!({
            "agent_id": agent, "cid": "vm", "job": "web", "index": index, "id": format!("id-{index}"), "az": "z1", "ips": [ip],
            "vm_created_at": "2026-11-23T15:13:34Z", "expects_vm": true,
        })
    };
    lines.iter().map(row).collect()
}

fn records(version: u64, lines: &[Line]) -> String {
    let row = |(index, agent, ip): &Line| json!([agent, format!("id-{index}"), "z1", "web", ip, "default", "shop", {"new": []}, index]);
    let infos: Vec<Value> = lines.iter().map(row).collect();
    let keys = ["agent_id", "id", "az", "instance_group", "ip", "network", "deployment", "unknown", "instance_index"];
    json!({"version": version, "record_keys": keys, "record_infos": infos}).to_string()
}

#[test]
fn new_moved_and_deleted_instances_are_endpoints_and_are_not_while_the_director_is_away() {
    let director = Director::with([Manifest::of("shop")]);
    director.shows_instances("shop", &rows(&[FIRST]));
    let pilot = director.pilot().with_records(&records(1, &[FIRST])).starts();
    pilot.serves_at(SHOP, &["10.244.7.1"]).is_content();
    director.fails(Fault::ConnectionRefused);
    pilot.shows("the director is away", |status| status["director"]["error"].is_string());
    pilot.gets_records(&records(2, &[FIRST, SECOND])).serves_at(SHOP, &["10.244.7.1", "10.244.7.2"]);
    pilot.gets_records(&records(3, &[MOVED, SECOND])).serves_at(SHOP, &["10.244.7.9", "10.244.7.2"]);
    pilot.gets_records(&records(5, &[MOVED])).serves_at(SHOP, &["10.244.7.9"]);
    let generation = pilot.generation();
    // None of these is news: a broken file, an old one, and one that has lost everything.
    for (no_news, next) in [("{".to_owned(), 6), (records(2, &[FIRST, SECOND]), 7), (records(9, &[]), 10)] {
        pilot.gets_records(&no_news).gets_records(&records(next, &[MOVED]));
    }
    pilot.gets_records(&records(11, &[MOVED, SECOND])).serves_at(SHOP, &["10.244.7.9", "10.244.7.2"]);
    assert_eq!(pilot.generation(), generation + 1);
    director.shows_instances("shop", &rows(&[MOVED, SECOND])).heals();
    director.is_polled(20);
    pilot.is_content().serves_at(SHOP, &["10.244.7.9", "10.244.7.2"]);
    assert_eq!(pilot.generation(), generation + 1, "the director says the same");
}
