//! Every recorded answer is parsed by its type, and serialised again gives the same JSON.

use secrecy::ExposeSecret;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use boshy_mesh::{Address, Instance, Place};

use super::*;
use crate::manifest;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/director/");

fn same_json<T: Serialize + DeserializeOwned>(body: &str) {
    let read: T = serde_json::from_str(body).unwrap();
    let recorded: Value = serde_json::from_str(body).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), recorded);
}

fn same_json_lines<T: Serialize + DeserializeOwned>(body: &str) {
    assert!(!body.is_empty());
    body.lines().for_each(same_json::<T>);
}

/// An answer that the mesh neither parses nor serves.
fn any_json(body: &str) {
    serde_json::from_str::<Value>(body).unwrap();
}

fn text(body: &str) {
    assert!(serde_json::from_str::<Value>(body).is_err(), "is JSON, so it must not be named .txt");
}

fn token(body: &str) {
    let token: Token = serde_json::from_str(body).unwrap();
    assert_eq!(token.expires_in, 119);
    assert!(token.access_token.expose_secret().starts_with("eyJ"));
    assert!(!format!("{token:?}").contains("eyJ"));
}

fn shop(text: &str) {
    assert_eq!(manifest::read("shop", text, &boshy_yaml::Limits::default()).unwrap().groups.len(), 4);
}

fn any_yaml(text: &str) {
    boshy_yaml::from_text::<Value>(text, &boshy_yaml::Limits::default()).unwrap();
}

fn reader_of(file: &str) -> Option<fn(&str)> {
    Some(match file {
        "config_by_id_superseded.json" | "config_post_201.json" | "config_post_201_same_content.json" => {
            same_json::<Config>
        }
        "config_post_412.json" => same_json::<ConfigConflict>,
        "configs_diff.json" => same_json::<ConfigDiff>,
        "deployment_configs.json" => same_json::<Vec<DeploymentConfig>>,
        "deployment_diff.json" => same_json::<ManifestDiff>,
        "deployment_job_instance_detached.json" => same_json::<JobInstance>,
        "deployment_vms.json" => same_json::<Vec<VmRow>>,
        "event_by_id.json" => same_json::<Event>,
        "link_consumers.json" => same_json::<Vec<LinkConsumer>>,
        "link_providers.json" => same_json::<Vec<LinkProvider>>,
        "links.json" => same_json::<Vec<Link>>,
        "locks.json" => same_json::<Vec<Lock>>,
        "manifest_shop.yml" => shop,
        "runtime_config_mesh.yml" => any_yaml,
        "releases.json" => same_json::<Vec<ReleaseRow>>,
        "task_output_event_deploy.jsonl" | "task_output_event_error.jsonl" => same_json_lines::<TaskEvent>,
        "task_output_instances_full.jsonl" | "task_output_vms_full.jsonl" => same_json_lines::<FullRow>,
        "uaa_token_response.json" => token,
        "bosh_dns_addresses_aliases.json"
        | "bosh_dns_handlers_json_variants.json"
        | "bosh_dns_http_handler_exchanges.json"
        | "instance_dir.json"
        | "link_address.json"
        | "nats_sync_dns_message.json"
        | "records.json"
        | "records_with_aliases.json"
        | "release_inspect.json"
        | "runtime_configs.json"
        | "stemcells.json" => any_json,
        _ if file.ends_with(".txt") => text,
        _ if file.starts_with("configs_") => same_json::<Vec<Config>>,
        _ if file.starts_with("deployment_instances") => same_json::<Vec<InstanceRow>>,
        _ if file.starts_with("deployment_manifest") => same_json::<ManifestBody>,
        _ if file.starts_with("deployments") => same_json::<Vec<DeploymentRow>>,
        _ if file.starts_with("error_") => same_json::<ErrorBody>,
        _ if file.starts_with("events_") => same_json::<Vec<Event>>,
        _ if file.starts_with("info_") => same_json::<Info>,
        _ if file.starts_with("task_") => same_json::<Task>,
        _ if file.starts_with("tasks_") => same_json::<Vec<Task>>,
        _ => return None,
    })
}

#[test]
fn every_recorded_answer_is_read() {
    let mut count = 0;
    for entry in std::fs::read_dir(FIXTURES).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if file == "INDEX.md" {
            continue;
        }
        println!("{file}");
        let read = reader_of(&file).unwrap_or_else(|| panic!("no reader for {file}"));
        read(&std::fs::read_to_string(format!("{FIXTURES}{file}")).unwrap());
        count += 1;
    }
    assert!(count > 80, "only {count}");
}

#[test]
fn instances_become_facts() {
    let body = std::fs::read_to_string(format!("{FIXTURES}deployment_instances_one_detached.json")).unwrap();
    let rows: Vec<InstanceRow> = serde_json::from_str(&body).unwrap();
    let count = rows.len();
    let ReadInstances { instances: facts, problems, .. } = ReadInstances::of(&Place::deployment("shop"), rows);
    assert_eq!((facts.len(), problems), (count, vec![]));
    let web: Vec<_> = facts.iter().filter(|instance| instance.group == "web").collect();
    assert_eq!((web[0].index, web[0].az.as_deref()), (Some(0), Some("z1")));
    assert_eq!(web[0].ips, [Address::parse("10.0.1.3").unwrap()]);
    assert!(web[0].expects_vm && web[0].vm_created_at.is_some() && web[0].agent_id.is_some());
    assert!(!web[1].expects_vm && web[1].ips.is_empty());
}

/// Ids and addresses of the instances in `rows`, and the problems.
fn read(rows: &str) -> (Vec<String>, Vec<String>) {
    let read = ReadInstances::of(&Place::deployment("shop"), serde_json::from_str(rows).unwrap());
    let shown = |instance: &Instance| {
        let ips: Vec<_> = instance.ips.iter().map(ToString::to_string).collect();
        format!("{} {} {}", instance.title(), ips.join(","), instance.expects_vm)
    };
    (read.instances.iter().map(shown).collect(), read.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn one_unreadable_value_costs_its_instance_at_most_and_is_named() {
    let good = r#"{"job":"web","index":1,"id":"b","az":"z1","ips":["10.0.0.2"],"expects_vm":true}"#;
    for (what, row, shown, told) in [
        (
            "a prefix",
            r#"{"job":"web","index":0,"id":"a","ips":["10.20.0.16/28","10.0.0.1"],"expects_vm":true}"#,
            Some("web/0 10.20.0.16/28,10.0.0.1 true"),
            None,
        ),
        (
            "an IPv6 prefix",
            r#"{"job":"web","index":0,"id":"a","ips":["fd00::/80"],"expects_vm":true}"#,
            Some("web/0 fd00::/80 true"),
            None,
        ),
        (
            "no address",
            r#"{"job":"web","index":0,"id":"a","ips":["10.0.1"],"expects_vm":true}"#,
            Some("web/0  true"),
            Some("10.0.1"),
        ),
        (
            "one address of two",
            r#"{"job":"web","index":0,"id":"a","ips":[5,"10.0.0.1"],"expects_vm":true}"#,
            Some("web/0 10.0.0.1 true"),
            Some("\"5\""),
        ),
        (
            "nil addresses",
            r#"{"job":"web","index":0,"id":"a","ips":null,"expects_vm":true}"#,
            Some("web/0  true"),
            None,
        ),
        (
            "addresses in a map",
            r#"{"job":"web","index":0,"id":"a","ips":{},"expects_vm":true}"#,
            Some("web/0  true"),
            Some("`ips`"),
        ),
        (
            "one address alone",
            r#"{"job":"web","index":0,"id":"a","ips":"10.0.0.1","expects_vm":true}"#,
            Some("web/0 10.0.0.1 true"),
            None,
        ),
        (
            "an index of text",
            r#"{"job":"web","index":"0","id":"a","ips":["10.0.0.1"],"expects_vm":true}"#,
            Some("web/0 10.0.0.1 true"),
            None,
        ),
        (
            "an odd index",
            r#"{"job":"web","index":-1.5,"id":"a","ips":["10.0.0.1"],"expects_vm":true}"#,
            Some("web/a 10.0.0.1 true"),
            Some("`index`"),
        ),
        (
            "no index",
            r#"{"job":"web","id":"a","ips":["10.0.0.1"],"expects_vm":true}"#,
            Some("web/a 10.0.0.1 true"),
            None,
        ),
        (
            "an odd zone",
            r#"{"job":"web","index":0,"id":"a","az":7,"ips":["10.0.0.1"],"expects_vm":true}"#,
            Some("web/0 10.0.0.1 true"),
            Some("`az`"),
        ),
        (
            "more keys",
            r#"{"job":"web","index":0,"id":"a","ips":["10.0.0.1"],"expects_vm":true,"state":"x","new":[{}]}"#,
            Some("web/0 10.0.0.1 true"),
            None,
        ),
        (
            "no word on its VM",
            r#"{"job":"web","index":0,"id":"a","ips":["10.0.0.1"]}"#,
            Some("web/0 10.0.0.1 true"),
            None,
        ),
        ("no group", r#"{"index":0,"id":"a","ips":["10.0.0.1"],"expects_vm":true}"#, None, Some("a has no `job`")),
        (
            "a group of a number",
            r#"{"job":5,"index":0,"id":"a","ips":["10.0.0.1"],"expects_vm":true}"#,
            None,
            Some("a has no `job`"),
        ),
        ("no id", r#"{"job":"web","index":0,"ips":["10.0.0.1"],"expects_vm":true}"#, None, Some("web has no `id`")),
        ("no map", "null", None, Some("a line has no `job`")),
        ("a list", "[1]", None, Some("a line has no `job`")),
        (
            "an odd time",
            r#"{"job":"web","index":0,"id":"a","ips":["10.0.0.1"],"expects_vm":true,"vm_created_at":"soon"}"#,
            Some("web/0 10.0.0.1 true"),
            None,
        ),
        (
            "the same id twice",
            r#"{"job":"web","index":7,"id":"b","ips":["10.0.0.9"],"expects_vm":true}"#,
            None,
            Some("the id of another line"),
        ),
    ] {
        let (found, problems) = read(&format!("[{row},{good}]"));
        let expected: Vec<_> = shown.into_iter().chain(["web/1 10.0.0.2 true"]).collect();
        let mut found = found;
        found.sort_by_key(|line| line.starts_with("web/1"));
        assert_eq!(found, expected, "{what}");
        assert_eq!(problems.len(), usize::from(told.is_some()), "{what}: {problems:?}");
        assert!(
            told.is_none_or(|told| problems[0].contains(told) && problems[0].contains("shop")),
            "{what}: {problems:?}"
        );
    }
}
