//! Compares the embedded director's answers with recorded ones of a real director: same status, same content type, same
//! keys with the same JSON types.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use super::*;
use crate::{Account, LAB_CLOUD_CONFIG};
use boshy_director::wire::{ConfigPost, ErrorBody, ManifestDiff};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/director/");
const NOW: Timestamp = Timestamp(1_795_446_868);

fn fixture(file: &str) -> String {
    std::fs::read_to_string(format!("{FIXTURES}{file}")).unwrap()
}

/// Status and content type of each recorded answer, from the table that describes them.
fn recorded_heads() -> BTreeMap<String, (u16, String)> {
    let table = fixture("INDEX.md");
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, file, _, status, content_type, ..] = cells.as_slice() else { return None };
        Some(((*file).to_owned(), (status.parse().ok()?, (*content_type).to_owned())))
    });
    rows.collect()
}

/// The part of an answer that does not depend on values: keys and types, and the types of elements in a list.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape_of(key, value))).collect(),
        Value::Array(list) => {
            list.iter().map(|value| shape(value).to_string()).collect::<BTreeSet<_>>().into_iter().collect()
        }
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Null => "null".into(),
    }
}

/// There are no teams and no cloud here, and the number of a step's tags is not compared.
fn shape_of(key: &str, value: &Value) -> Value {
    match key {
        "team" | "teams" | "tags" | "cloud_properties" => "any".into(),
        _ => shape(value),
    }
}

/// The elements of a list, or the lines of an output, or the single value.
fn elements(body: &str) -> Vec<Value> {
    match serde_json::from_str(body) {
        Ok(Value::Array(list)) => list,
        Ok(value) => vec![value],
        Err(_) => body.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

fn shapes(body: &str) -> BTreeSet<String> {
    elements(body).iter().map(|value| shape(value).to_string()).collect()
}

fn director(authentication: Authentication) -> DirectorApi {
    let uuid = "bc148442-1317-4d10-bfe9-322b20186179".to_owned();
    let world = World::new(LAB_CLOUD_CONFIG, true, 1).unwrap();
    let gate = Gate::new(authentication, &uuid);
    DirectorApi { name: "mesh-lab".to_owned(), uuid, world, gate, ssh_hint: "use the lab".to_owned() }
}

fn with_users() -> DirectorApi {
    let useless = Account { scopes: vec!["openid".to_owned()], ..Account::admin("nobody", "pw") };
    let users = vec![Account::admin("admin", "pw"), Account::reader("reader", "pw"), useless];
    director(Authentication::Basic(users))
}

fn request(line: &str, user: Option<&str>) -> Request {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let (method, target) = line.split_once(' ').unwrap();
    let authorization = user.map(|user| format!("Basic {}", STANDARD.encode(format!("{user}:pw"))));
    let host = "HOST:25555".to_owned();
    Request { method: method.to_owned(), host, authorization, ..Request::default() }.with_target(target)
}

/// A world like the recorded one: `shop` deployed and scaled, `legacy` failed, a config in two versions.
fn recorded_world() -> DirectorApi {
    let mut director = with_users();
    let world = &mut director.world;
    let shop = fixture("manifest_shop.yml");
    world.deploy(&shop, "admin", NOW).unwrap();
    world.deploy(&shop.replace("instances: 2", "instances: 3"), "admin", NOW).unwrap();
    let legacy = "name: legacy\ninstance_groups: [{name: g, instances: 1, networks: [{name: nowhere}]}]\n";
    world.submit(legacy, "admin", NOW).unwrap();
    for content in ["hosts:\n- name: catalog.shop.boshy\n  port: 9001\n", "hosts: [a]\n"] {
        let post = |content: &str| Some(content.to_owned());
        let (kind, name, content) = (post("mesh"), post("routes"), post(content));
        world.configs.post(&ConfigPost { kind, name, content, expected_latest_id: None }, NOW).unwrap();
    }
    director
}

/// Sends a request and compares head and shape: every part of the answer must occur in the recorded answer.
fn same_shape(director: &mut DirectorApi, file: &str, request: &Request) {
    let body = same_head(director, file, request);
    let (answered, recorded) = (shapes(&body), shapes(&fixture(file)));
    assert!(answered.is_subset(&recorded), "{file}:\n{answered:#?}\nis not in\n{recorded:#?}");
    assert_eq!(answered.is_empty(), recorded.is_empty(), "{file}");
}

/// Sends a request and compares head and text.
fn same_text(director: &mut DirectorApi, file: &str, request: &Request) {
    assert_eq!(same_head(director, file, request), fixture(file), "{file}");
}

fn same_head(director: &mut DirectorApi, file: &str, request: &Request) -> String {
    let heads = recorded_heads();
    let (status, content_type) = heads.get(file).unwrap_or_else(|| panic!("{file} is not in the table"));
    let answer = director.answer(request, NOW);
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!((answer.status, answer.kind.header()), (*status, content_type.as_str()), "{file}: {body}");
    body
}

fn sends(line: &str, content_type: &str, body: &str) -> Request {
    let (content_type, body) = (content_type.to_owned(), body.as_bytes().to_vec());
    Request { content_type, body, ..request(line, Some("admin")) }
}

#[test]
fn answers_have_the_shape_of_the_recorded_ones() {
    let mut director = recorded_world();
    for (file, line) in [
        ("deployments.json", "GET /deployments"),
        ("deployments_exclude_configs.json", "GET /deployments?exclude_configs=true"),
        (
            "deployments_all_excluded.json",
            "GET /deployments?exclude_configs=true&exclude_releases=true&exclude_stemcells=true&exclude_lock=true",
        ),
        ("deployment_manifest.json", "GET /deployments/shop"),
        ("deployment_manifest_null.json", "GET /deployments/legacy"),
        ("deployment_instances.json", "GET /deployments/shop/instances"),
        ("deployment_instances_none.json", "GET /deployments/legacy/instances"),
        ("deployment_vms.json", "GET /deployments/shop/vms"),
        ("tasks_current_empty.json", "GET /tasks?state=queued,processing,cancelling"),
        ("task_done.json", "GET /tasks/2"),
        ("task_error.json", "GET /tasks/3"),
        ("tasks_recent.json", "GET /tasks?limit=3&verbose=1"),
        ("tasks_deployment_verbose2.json", "GET /tasks?limit=2&verbose=2&deployment=shop"),
        ("task_output_event_deploy.jsonl", "GET /tasks/1/output?type=event"),
        ("events_latest_200.json", "GET /events"),
        ("event_by_id.json", "GET /events/1"),
        ("configs_latest_default.json", "GET /configs"),
        ("configs_latest_one.json", "GET /configs?type=mesh&name=routes&latest=true&limit=1"),
        ("configs_all_versions.json", "GET /configs?type=mesh&name=routes&latest=false"),
        ("configs_limit2.json", "GET /configs?type=mesh&limit=2"),
        ("config_by_id_superseded.json", "GET /configs/2"),
    ] {
        same_shape(&mut director, file, &request(line, Some("admin")));
    }
    let failed = director.answer(&request("GET /tasks/3/output?type=event", Some("admin")), NOW);
    assert_eq!(shapes(&String::from_utf8(failed.body).unwrap()), shapes(&fixture("task_output_event_error.jsonl")));
}

#[test]
fn a_deploy_under_way_is_seen_as_a_lock() {
    let mut director = recorded_world();
    director.world.begin_deploy(&fixture("manifest_shop.yml"), "admin", NOW).unwrap();
    let excluded = "exclude_configs=true&exclude_releases=true&exclude_stemcells=true";
    let list = request(&format!("GET /deployments?{excluded}"), Some("admin"));
    same_shape(&mut director, "deployments_locked.json", &list);
    assert!(
        String::from_utf8(director.answer(&list, NOW).body)
            .unwrap()
            .contains(r#""name":"shop","teams":[],"locked":true"#)
    );
    same_shape(&mut director, "locks.json", &request("GET /locks", Some("admin")));
    same_shape(&mut director, "task_processing.json", &request("GET /tasks/4", Some("admin")));
}

#[test]
fn asking_every_agent_is_a_task_with_a_line_per_instance() {
    let mut director = recorded_world();
    same_text(
        &mut director,
        "deployment_vms_full_302.txt",
        &request("GET /deployments/shop/vms?format=full", Some("admin")),
    );
    let answer = director.answer(&request("GET /deployments/shop/instances?format=full", Some("admin")), NOW);
    assert_eq!(answer.location.as_deref(), Some("https://HOST:25555/tasks/5"));
    same_shape(&mut director, "task_vms_done.json", &request("GET /tasks/4", Some("admin")));
    for (file, task) in [("task_output_vms_full.jsonl", 4), ("task_output_instances_full.jsonl", 5)] {
        same_shape(&mut director, file, &request(&format!("GET /tasks/{task}/output?type=result"), Some("admin")));
    }
}

#[test]
fn errors_are_word_for_word_those_recorded() {
    let mut director = recorded_world();
    for (file, line, user) in [
        ("info_basic_anonymous.json", "GET /info", None),
        ("info_basic_admin.json", "GET /info", Some("admin")),
        ("error_401_no_credentials.txt", "GET /deployments", None),
        ("error_401_wrong_password.txt", "GET /deployments", Some("stranger")),
        ("error_401_scope_deployments.json", "GET /deployments", Some("nobody")),
        ("error_401_reader_cannot_write_config.json", "POST /configs", Some("reader")),
        ("error_404_deployment.json", "GET /deployments/nope", Some("admin")),
        ("error_404_no_such_path.txt", "GET /nope", Some("admin")),
        ("error_404_task.json", "GET /tasks/999", Some("admin")),
        ("error_404_config.json", "GET /configs/77", Some("admin")),
        ("error_404_event.txt", "GET /events/4711", Some("admin")),
        ("error_400_configs_limit.json", "GET /configs?limit=0", Some("admin")),
        ("error_400_events_before_time.txt", "GET /events?before_time=garbage", Some("admin")),
    ] {
        same_text(&mut director, file, &request(line, user));
    }
}

#[test]
fn what_is_sent_is_answered_as_recorded() {
    let mut director = with_users();
    let json = "application/json";
    let content = "hosts:\n- name: catalog.shop.boshy\n  port: 9001\n";
    let post = |content: &str, expected: &str| {
        json!({"type": "mesh", "name": "routes", "content": content, "expected_latest_id": expected}).to_string()
    };
    for (file, line, content_type, body) in [
        ("deploy_302.txt", "POST /deployments", "text/yaml", fixture("manifest_shop.yml")),
        ("config_post_201.json", "POST /configs", json, post(content, "0")),
        ("config_post_201_same_content.json", "POST /configs", json, post(content, "2")),
        ("config_post_412.json", "POST /configs", json, post("a: 1\n", "0")),
        ("configs_diff.json", "POST /configs/diff", json, post("hosts:\n- name: other\n  port: 9001\n# more\n", "2")),
        ("deployment_diff.json", "POST /deployments/shop/diff?redact=true", "text/yaml", "name: shop\n".to_owned()),
        ("error_400_config_not_hash.json", "POST /configs", json, post("- a\n", "2")),
        ("error_400_config_bad_yaml.json", "POST /configs", json, post("{", "2")),
        ("error_400_config_no_type.json", "POST /configs", json, json!({"name": "routes"}).to_string()),
        ("error_400_config_bad_json.json", "POST /configs", json, "{".to_owned()),
        ("error_400_manifest_yaml.json", "POST /deployments", "text/yaml", "foo: [".to_owned()),
        ("error_400_manifest_no_name.json", "POST /deployments", "text/yaml", "foo: 1".to_owned()),
        ("error_404_config_wrong_content_type.txt", "POST /configs", "text/plain", post(content, "2")),
    ] {
        let request = sends(line, content_type, &body);
        if file.ends_with(".txt") {
            same_text(&mut director, file, &request);
        } else if file.starts_with("error_") {
            let code = |body: &str| serde_json::from_str::<ErrorBody>(body).unwrap().code;
            assert_eq!(code(&same_head(&mut director, file, &request)), code(&fixture(file)), "{file}");
        } else if file == "deployment_diff.json" {
            let diff: ManifestDiff = serde_json::from_str(&same_head(&mut director, file, &request)).unwrap();
            assert!(diff.diff.iter().any(|(line, kind)| line == "- name: web" && kind.as_deref() == Some("removed")));
        } else {
            same_shape(&mut director, file, &request);
        }
    }
}

#[test]
fn an_output_is_read_on_from_where_the_last_look_ended() {
    let mut director = recorded_world();
    let look = |director: &mut DirectorApi, from| {
        let asked = Request { range_from: Some(from), ..request("GET /tasks/1/output?type=event", Some("admin")) };
        director.answer(&asked, NOW)
    };
    let all = look(&mut director, 0);
    let rest = look(&mut director, 10);
    assert_eq!((all.status, rest.status), (206, 206));
    assert_eq!(all.body[10..], rest.body);
    let total = all.body.len();
    assert_eq!(rest.content_range, Some(format!("bytes 10-{}/{total}", total - 1)));
    assert_eq!(look(&mut director, total).status, 416);
    assert_eq!(director.answer(&request("GET /tasks/1/output?type=result", Some("admin")), NOW).status, 204);
}

#[test]
fn instances_are_stopped_and_started_by_name_or_index() {
    let mut director = recorded_world();
    let act = |director: &mut DirectorApi, action: &str| {
        let line = format!("POST /deployments/shop/instance_groups/web/1/actions/{action}");
        director.answer(&request(&line, Some("admin")), NOW).status
    };
    assert_eq!(act(&mut director, "stop?hard=true"), 302);
    let detached = request("GET /deployments/shop/jobs/web/1", Some("admin"));
    same_shape(&mut director, "deployment_job_instance_detached.json", &detached);
    same_shape(
        &mut director,
        "deployment_instances_one_detached.json",
        &request("GET /deployments/shop/instances", Some("admin")),
    );
    assert_eq!(act(&mut director, "start"), 302);
    assert_eq!(act(&mut director, "dance"), 404);
}

#[test]
fn configs_are_deleted_by_version_or_by_name() {
    let mut director = recorded_world();
    let mut status = |line: &str| director.answer(&request(line, Some("admin")), NOW).status;
    assert_eq!(status("DELETE /configs/3"), 204);
    assert_eq!(status("GET /configs/3"), 404);
    assert_eq!(status("GET /configs/2"), 200);
    assert_eq!(status("DELETE /configs?type=mesh&name=routes"), 204);
    assert_eq!(status("DELETE /configs?type=mesh&name=routes"), 404);
    assert_eq!(status("GET /configs/2"), 404);
}

#[test]
fn uaa_tokens_are_good_until_they_expire() {
    let clients = vec![Account::reader("mesh", "pw")];
    let mut director = director(Authentication::Uaa { clients, token_lifetime: Duration::from_secs(120) });
    let info = director.answer(&request("GET /info", None), NOW);
    assert_eq!(shapes(&String::from_utf8(info.body).unwrap()), shapes(&fixture("info_uaa_anonymous.json")));
    let asks = |user: &str, grant: &str| {
        let body = format!("grant_type={grant}").into_bytes();
        Request { body, ..request("POST /oauth/token", Some(user)) }
    };
    let answer = director.answer(&asks("mesh", "client_credentials"), NOW);
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!(shapes(&body), shapes(&fixture("uaa_token_response.json")));
    assert_eq!(director.answer(&asks("stranger", "client_credentials"), NOW).status, 401);
    assert_eq!(director.answer(&asks("mesh", "authorization_code"), NOW).status, 400);

    let token = serde_json::from_str::<Value>(&body).unwrap()["access_token"].as_str().unwrap().to_owned();
    let with_token = |scheme: &str| {
        let authorization = Some(format!("{scheme} {token}"));
        Request { authorization, ..request("GET /deployments", None) }
    };
    assert_eq!(director.answer(&with_token("bearer"), NOW).status, 200);
    assert_eq!(director.answer(&with_token("Bearer"), Timestamp(NOW.0 + 119)).status, 200);
    assert_eq!(director.answer(&with_token("Bearer"), Timestamp(NOW.0 + 120)).status, 401);
    director.gate.revoke_tokens();
    assert_eq!(director.answer(&with_token("Bearer"), NOW).status, 401);
}
