use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::Value;

use super::*;

/// Two instances of web and one of db, in the columns of a director.
fn records() -> Records {
    let row = |id: &str, number: &str, group: &str, groups: [&str; 1], az: &str, ip: &str, index: u32| {
        serde_json::json!([
            id,
            number,
            group,
            groups,
            format!("z{az}"),
            az,
            "default",
            "1",
            "shop",
            ip,
            "bosh",
            "agent",
            index
        ])
    };
    let file = serde_json::json!({
        "records": [],
        "version": 3,
        "record_keys": ["id", "num_id", "instance_group", "group_ids", "az", "az_id", "network", "network_id", "deployment",
            "ip", "domain", "agent_id", "instance_index"],
        "record_infos": [
            row("673e", "2", "web", ["3"], "1", "10.0.1.4", 0),
            row("673F", "5", "web", ["3"], "2", "10.0.1.3", 1),
            row("9a", "7", "db", ["4"], "1", "10.0.1.9", 0),
            row("9b", "8", "db", ["4"], "1", "not an address", 1),
        ],
        "aliases": {
            "pilot.Boshy.internal": [{"root_domain": "bosh", "group_id": "3", "health_filter": "all",
                "initial_health_check": null, "placeholder_type": null}],
            "both.internal": [{"root_domain": "bosh", "group_id": "3", "health_filter": null},
                {"root_domain": "bosh", "group_id": "4", "health_filter": "healthy"}],
            "sick.internal": [{"root_domain": "bosh", "group_id": "3", "health_filter": "unhealthy"}],
        },
    });
    Records::read(&file.to_string()).unwrap()
}

fn found(last: &[u8]) -> Found {
    Found::Addresses(last.iter().map(|last| Ipv4Addr::new(10, 0, 1, *last)).collect())
}

#[test]
fn an_instance_has_a_name_by_its_id_and_by_its_index() {
    let records = records();
    assert_eq!(records.find("673e.web.default.shop.bosh."), found(&[4]));
    assert_eq!(records.find("673f.web.default.shop.bosh."), found(&[3]));
    assert_eq!(records.find("1.web.default.shop.bosh."), found(&[3]));
    assert_eq!(records.find("673e.db.default.shop.bosh."), Found::Nothing);
}

#[test]
fn a_query_takes_those_that_fit_every_part() {
    let records = records();
    for (query, last) in [("s0", &[3, 4][..]), ("s4", &[3, 4]), ("s0a1", &[4]), ("m5", &[3]), ("s3n1i0", &[4])] {
        assert_eq!(records.find(&format!("q-{query}.web.default.shop.bosh.")), found(last), "{query}");
    }
    for query in ["s1", "s0a3", "x1", "s", "", "a", "s0a1i1", "é"] {
        assert_eq!(records.find(&format!("q-{query}.web.default.shop.bosh.")), Found::Nothing, "{query}");
    }
}

#[test]
fn a_group_has_a_name_by_its_number() {
    assert_eq!(records().find("q-s0.q-g3.bosh."), found(&[3, 4]));
    assert_eq!(records().find("q-s0.q-g9.bosh."), Found::Nothing);
}

#[test]
fn an_alias_stands_for_its_groups() {
    let records = records();
    assert_eq!(records.find("pilot.boshy.internal."), found(&[3, 4]));
    assert_eq!(records.find("both.internal."), found(&[3, 4, 9]));
    assert_eq!(records.find("sick.internal."), Found::Nothing);
    assert_eq!(records.find("other.internal."), Found::NotOurs);
}

#[test]
fn a_name_outside_is_not_ours_and_one_inside_is_before_there_are_records() {
    assert_eq!(records().find("example.com."), Found::NotOurs);
    assert_eq!(records().find("notbosh."), Found::NotOurs);
    assert_eq!(Records::default().find("673e.web.default.shop.bosh."), Found::Nothing);
}

#[test]
fn a_broken_file_is_an_error() {
    assert!(Records::read("{").is_err());
    assert!(Records::read(r#"{"record_keys": []}"#).unwrap_err().contains("record_infos"));
}

/// Any JSON of some depth.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9.é]{0,12}".prop_map(Value::from),
        Just(Value::from("10.0.1.1")),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| vec(inner, 0..6).prop_map(Value::from))
}

proptest! {
    #[test]
    fn whatever_is_in_the_file_every_name_has_an_answer(
        keys in vec(select(&["id", "ip", "domain", "group_ids", "instance_group", "instance_index", "x"][..]), 0..8),
        rows in vec(vec(json(), 0..8), 0..6),
        text in any::<String>(),
        name in "([a-zé0-9.*-]{0,12}\\.|q-[a-z0-9é]{0,6}\\.){0,5}(bosh\\.)?",
    ) {
        let _ = Records::read(&text);
        let file = serde_json::json!({"record_keys": keys, "record_infos": rows});
        if let Found::Addresses(found) = Records::read(&file.to_string()).unwrap().find(&name) {
            prop_assert!(found.is_sorted_by(|one, other| one < other), "{found:?}");
        }
    }

    #[test]
    fn a_query_finds_no_more_than_a_query_that_asks_for_less(
        query in "(s[034]|a[12]|m[25]|n1|i[01]|y){1,4}", more in "(a[12]|m[25]|n1|i[01]|y){1,2}",
    ) {
        let records = records();
        let all = records.addresses(&format!("q-{query}.web.default.shop.bosh."));
        let some = records.addresses(&format!("q-{query}{more}.web.default.shop.bosh."));
        prop_assert!(some.iter().all(|address| all.contains(address)));
    }
}
