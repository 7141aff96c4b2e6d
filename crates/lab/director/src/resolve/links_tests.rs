use serde_json::json;

use super::{super::written::shaped, *};

fn spec() -> JobSpec {
    let text = "{name: j, provides: [{name: web, type: http, properties: [a.b]}], consumes: [{name: db, type: sql, optional: true}], \
                properties: {a.b: {default: 7}}}";
    JobSpec::parse("j", text).unwrap()
}

fn add(written: Value, properties: &Value) -> Result<Links, String> {
    let written: WrittenJob = shaped("job", written).unwrap();
    let mut links = Links::default();
    let at = At { deployment: "d", group: "g", release: "r" };
    let added = links.add(at, &spec(), &written, properties, &|name| name == "other");
    added.map(|()| links).map_err(|error| error.description)
}

fn job(key: &str, value: impl Into<Value>) -> Value {
    json!({"name": "j", key: value.into()})
}

#[test]
fn a_provider_carries_its_properties_and_the_names_of_the_manifest() {
    let links = add(job("provides", json!({"web": {"as": "front", "shared": true}})), &json!({"a": {"b": 8}})).unwrap();
    let web = &links.providers[0];
    assert_eq!((web.original.as_str(), web.name.as_str(), web.shared), ("web", "front", true));
    assert_eq!(web.properties, json!({"a": {"b": 8}}));
    let links = add(job("provides", json!({"web": "nil"})), &json!({})).unwrap();
    assert_eq!((links.providers[0].consumable, &links.providers[0].properties), (false, &json!({"a": {"b": 7}})));
    let custom = job("custom_provider_definitions", json!([{"name": "own", "type": "t", "properties": ["a.b"]}]));
    assert_eq!(add(custom, &json!({})).unwrap().providers.len(), 2);
}

#[test]
fn wrong_links_are_refused_in_the_directors_words() {
    let error = |key, value| add(job(key, value), &json!({})).map(|_| ()).unwrap_err();
    let place = "in job 'j' in instance group 'g'";
    assert_eq!(
        error("provides", json!({"web": 1})),
        format!("Provider 'web' {place} specified in the manifest should only be a hash or string 'nil'")
    );
    let fixed = "Please provide these keys in the release only.";
    assert_eq!(
        error("provides", json!({"web": {"type": "x"}})),
        format!("Cannot specify 'name' or 'type' properties in the manifest for link 'web' {place}. {fixed}")
    );
    assert_eq!(
        error("consumes", json!({"db": 1})),
        format!("Consumer 'db' {place} specified in the manifest should only be a hash or string 'nil'")
    );
    assert_eq!(
        error("consumes", json!({"db": {"from": "x", "instances": []}})),
        format!("Cannot specify both 'instances' and 'from' keys for link 'db' {place}.")
    );
    assert_eq!(
        error("consumes", json!({"db": {"properties": {}}})),
        format!("Cannot specify 'properties' without 'instances' for link 'db' {place}.")
    );
    assert_eq!(
        error("consumes", json!({"db": {"ip_addresses": "x"}})),
        format!("Cannot specify non boolean values for 'ip_addresses' field for link 'db' {place}.")
    );
    let twice = json!([{"name": "web", "type": "t"}]);
    assert_eq!(
        error("custom_provider_definitions", twice),
        format!("Custom provider 'web' {place} is already defined in release 'r'")
    );
    let unknown = json!([{"name": "x", "type": "t", "properties": ["no"]}]);
    assert_eq!(
        error("custom_provider_definitions", unknown),
        "Link property no in template j is not defined in release spec"
    );
    add(job("consumes", json!({"db": {"from": "x", "deployment": "other"}, "unknown": {}})), &json!({})).unwrap();
}

#[test]
fn a_blocked_optional_link_and_one_written_by_hand_need_no_provider() {
    for (source, has_target) in [(json!("nil"), false), (json!({"instances": [{"address": "h"}]}), true)] {
        let mut links = add(job("consumes", json!({"db": source})), &json!({})).unwrap();
        links.connect("d", &|_| None).unwrap();
        assert_eq!(links.consumers[0].target.is_some(), has_target);
    }
}
