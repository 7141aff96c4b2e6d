//! Measures the time from the appearance of an instance until the last agent has accepted it as an endpoint. Prints one
//! JSON line:
//!
//! `cargo run --release -p boshy-tests --example instance_push`
//!
//! `by_event` is for a director that records events, at the usual rate of requests, and `by_records` for one whose
//! `records.json` reaches the pilot's VM at the moment at which the event is recorded: the median and the longest of
//! [`ROUNDS`] each, in milliseconds. `agents` agents are connected. Director, pilot and agents share this process and the
//! machine. The agents have no Envoy, which would add the time that it takes to accept endpoints.

#![expect(clippy::print_stdout, reason = "its output")]

use std::{
    thread,
    time::{Duration, Instant},
};

use boshy_tests::{Agent, AgentPlan, Director, Manifest, Operated, Pilot, until};
use serde_json::{Value, json};

const AGENTS: usize = 20;
const ROUNDS: u32 = 20;
const HOST: &str = "app.web.shop.boshy";

fn main() {
    let director = Director::with([Manifest::of("shop")]);
    director.shows_instances("shop", &instances(1));
    let pilot = director.pilot().at_the_usual_pace().with_records(&records(1, 1)).starts();
    pilot.serves(HOST, 1);
    let agents: Vec<Agent> = (0..AGENTS).map(|_| AgentPlan::of([&pilot]).starts()).collect();
    until("all agents are connected", || connected(&pilot), |count| *count == AGENTS);

    let mut count = 1;
    let mut round = |pushed: bool| {
        count += 1;
        // The requests of a second are at any time of it.
        thread::sleep(Duration::from_millis(1_000 + u64::from(count) * 137 % 1_000));
        let begun = Instant::now();
        director.shows_instances("shop", &instances(count));
        if pushed {
            pilot.gets_records(&records(count, count));
        }
        until("all have accepted it", || pilot.status(), |status| has_converged(status, count));
        begun.elapsed().as_millis() as u64
    };
    let (event, event_max) = summary((0..ROUNDS).map(|_| round(false)).collect());
    let (records, records_max) = summary((0..ROUNDS).map(|_| round(true)).collect());
    println!(
        "{}",
        json!({
            "agents": AGENTS,
            "by_event": event,
            "by_event_max": event_max,
            "by_records": records,
            "by_records_max": records_max,
        })
    );
    drop(agents);
}

fn connected(pilot: &Pilot) -> usize {
    pilot.status()["proxies"].as_array().map_or(0, Vec::len)
}

/// Whether the service has this number of endpoints, and every agent has accepted them.
fn has_converged(status: &Value, endpoints: u32) -> bool {
    let service = &status["services"][0]["endpoints"];
    let convergence = &status["convergence"];
    service.as_array().is_some_and(|all| all.len() == endpoints as usize)
        && convergence["generation"] == status["snapshot"]["generation"]
        && convergence["milliseconds"].is_u64()
}

/// The median and the longest.
fn summary(mut times: Vec<u64>) -> (u64, u64) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}

fn ip(number: u32) -> String {
    format!("10.244.7.{number}")
}

fn instances(count: u32) -> Value {
    let row = |number: u32| {
        json!({
            "agent_id": format!("agent-{number}"), "cid": "vm", "job": "web", "index": number, "id": format!("id-{number}"),
            "az": "z1", "ips": [ip(number)], "vm_created_at": "2026-11-23T15:13:34Z", "expects_vm": true,
        })
    };
    (1..=count).map(row).collect()
}

fn records(version: u32, count: u32) -> String {
    let row = |number: u32| {
        json!([format!("id-{number}"), "web", "z1", "default", "shop", ip(number), format!("agent-{number}"), number])
    };
    let rows: Vec<Value> = (1..=count).map(row).collect();
    let keys = ["id", "instance_group", "az", "network", "deployment", "ip", "agent_id", "instance_index"];
    json!({"version": version, "record_keys": keys, "record_infos": rows}).to_string()
}
