//! Every recorded answer is read by its type, and written again it is the same JSON.

use secrecy::ExposeSecret;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::*;
use crate::{manifest, yaml};

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

/// Answers the mesh neither reads nor serves.
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
    assert_eq!(manifest::read("shop", text, &yaml::Limits::default()).unwrap().groups.len(), 4);
}

fn any_yaml(text: &str) {
    yaml::from_text::<Value>(text, &yaml::Limits::default()).unwrap();
}

fn reader_of(file: &str) -> Option<fn(&str)> {
    Some(match file {
        "config_by_id_superseded.json" | "config_post_201.json" | "config_post_201_same_content.json" => {
            same_json::<Config>
        }
        "config_post_412.json" => same_json::<ConfigConflict>,
        "configs_diff.json" => same_json::<ConfigDiff>,
        "deployment_diff.json" => same_json::<ManifestDiff>,
        "deployment_job_instance_detached.json" => same_json::<JobInstance>,
        "deployment_vms.json" => same_json::<Vec<VmRow>>,
        "event_by_id.json" => same_json::<Event>,
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
        | "deployment_configs.json"
        | "instance_dir.json"
        | "link_address.json"
        | "link_consumers.json"
        | "link_providers.json"
        | "links.json"
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
fn instances_become_facts_and_a_bad_address_names_its_instance() {
    let body = std::fs::read_to_string(format!("{FIXTURES}deployment_instances_one_detached.json")).unwrap();
    let rows: Vec<InstanceRow> = serde_json::from_str(&body).unwrap();
    let facts: Vec<boshy_mesh::Instance> = rows.iter().map(|row| row.clone().try_into().unwrap()).collect();
    assert_eq!((facts[0].group.as_str(), facts[0].index, facts[0].az.as_deref()), ("web", 0, Some("z1")));
    assert_eq!(facts[0].ips, ["10.0.1.3".parse::<std::net::IpAddr>().unwrap()]);
    assert!(facts[0].expects_vm && !facts[1].expects_vm && facts[1].ips.is_empty());

    let bad = InstanceRow { ips: vec!["10.0.1".into()], ..rows[0].clone() };
    let error = boshy_mesh::Instance::try_from(bad).unwrap_err();
    assert_eq!(error.to_string(), r#"instance web/0 has the address "10.0.1", which is no IP address"#);
}
