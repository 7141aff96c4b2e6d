use boshy_mesh::Timestamp;

use super::{super::Vm, *};
use crate::InstanceState;

fn instance(group: &str, index: u32, ip: &str) -> Instance {
    Instance {
        group: group.to_owned(),
        index,
        id: format!("id-{group}-{index}"),
        az: Some("z1".to_owned()),
        networks: vec![("default".to_owned(), ip.parse().unwrap())],
        state: InstanceState::Started,
        errand: false,
        vm: Some(Vm { cid: format!("vm-{ip}"), agent_id: format!("agent-{ip}"), created_at: Timestamp(0) }),
    }
}

fn read(dns: &mut Dns) -> Value {
    serde_json::from_str(&dns.publish().1).unwrap()
}

fn recorded(file: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/director/");
    serde_json::from_str(&std::fs::read_to_string(format!("{folder}{file}")).unwrap()).unwrap()
}

/// A column by key, as bosh-dns reads it.
fn column(records: &Value, key: &str) -> Vec<Value> {
    let keys = records["record_keys"].as_array().unwrap();
    let position = keys.iter().position(|known| known == key).unwrap();
    records["record_infos"].as_array().unwrap().iter().map(|row| row[position].clone()).collect()
}

#[test]
fn the_recorded_world_gives_the_recorded_rows() {
    let recorded = recorded("records.json");
    let mut dns = Dns::default();
    let provided = |links: &[(&str, &str)]| DnsLinks {
        provided: links.iter().map(|(group, link)| ((*group).to_owned(), (*link).to_owned())).collect(),
        aliases: Vec::new(),
    };
    dns.set_links("mesh", provided(&[("control", "mesh-control-mesh")]));
    for (deployment, row) in column(&recorded, "deployment").iter().zip(recorded["record_infos"].as_array().unwrap()) {
        let text = |position: usize| row[position].as_str().unwrap().to_owned();
        let mut wanted = instance(&text(2), u32::try_from(row[12].as_u64().unwrap()).unwrap(), &text(9));
        (wanted.id, wanted.az) = (text(0), Some(text(4)));
        wanted.vm.as_mut().unwrap().agent_id = text(11);
        dns.bind(deployment.as_str().unwrap(), &wanted);
    }
    let ours = read(&mut dns);
    // Numbers of instances and groups are the director's own.
    for key in KEYS.into_iter().filter(|key| !["num_id", "group_ids"].contains(key)) {
        assert_eq!(column(&ours, key), column(&recorded, key), "{key}");
    }
    assert_eq!(ours["records"], recorded["records"]);
    assert_eq!(ours["record_keys"], recorded["record_keys"]);
    assert_eq!(column(&ours, "group_ids")[0], serde_json::json!(["1", "2"]));
    assert_eq!(
        ours.as_object().unwrap().keys().collect::<Vec<_>>(),
        recorded.as_object().unwrap().keys().collect::<Vec<_>>()
    );
}

#[test]
fn an_alias_names_the_group_of_its_link() {
    let recorded = recorded("records_with_aliases.json");
    let mut dns = Dns::default();
    let alias = |domain: &str, health: Option<&str>, placeholder: Option<&str>| DnsAlias {
        domain: domain.to_owned(),
        link: "http-mesh".to_owned(),
        health_filter: health.map(str::to_owned),
        initial_health_check: None,
        placeholder_type: placeholder.map(str::to_owned),
    };
    let aliases = vec![alias("web.a.boshy", Some("healthy"), None), alias("_.web.a.boshy", None, Some("uuid"))];
    dns.set_links("a", DnsLinks { provided: vec![("web".to_owned(), "http-mesh".to_owned())], aliases });
    dns.bind("a", &instance("web", 0, "10.0.1.3"));
    let ours = read(&mut dns);
    let group = &column(&ours, "group_ids")[0][1];
    assert_eq!(&ours["aliases"]["web.a.boshy"][0]["group_id"], group);
    for name in ["web.a.boshy", "_.web.a.boshy"] {
        let mut expected = recorded["aliases"][name].clone();
        expected[0]["group_id"] = group.clone();
        assert_eq!(ours["aliases"][name], expected);
    }
}

#[test]
fn the_version_rises_with_every_change_and_only_then() {
    let mut dns = Dns::default();
    assert_eq!(dns.publish().0, 1);
    dns.bind("shop", &instance("web", 0, "10.0.1.3"));
    assert_eq!((dns.publish().0, dns.publish().0), (2, 2));
    assert_eq!(read(&mut dns)["version"], 2);
    let mut recreated = instance("web", 0, "10.0.1.3");
    recreated.vm.as_mut().unwrap().agent_id = "another".to_owned();
    dns.bind("shop", &recreated);
    assert_eq!(dns.publish().0, 3, "a new agent is a change");
    dns.unbind(&recreated.id);
    assert_eq!((dns.publish().0, read(&mut dns)["records"].as_array().unwrap().len()), (4, 0));
}

#[test]
fn names_are_canonical() {
    let mut dns = Dns::default();
    dns.bind("My_Shop.1", &instance("web_Front", 0, "10.0.1.3"));
    assert_eq!(read(&mut dns)["records"][0][1], "id-web_Front-0.web-front.default.my-shop1.bosh");
}
