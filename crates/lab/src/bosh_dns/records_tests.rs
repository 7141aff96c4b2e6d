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
