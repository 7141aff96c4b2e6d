use std::net::IpAddr;

use super::*;

const RECORDED: &[u8] = include_bytes!("../../../tests/fixtures/director/records.json");
const WITH_ALIASES: &[u8] = include_bytes!("../../../tests/fixtures/director/records_with_aliases.json");

fn file(keys: &str, rows: &str) -> Vec<u8> {
    format!(r#"{{"records":[],"version":7,"record_keys":{keys},"record_infos":{rows},"aliases":{{}}}}"#).into_bytes()
}

#[test]
fn a_recorded_file_is_read_whole() {
    let records = Records::read(RECORDED).unwrap();
    assert_eq!((records.version, records.rows.len(), records.unreadable_rows), (3, 6, 0));
    let web = records.of_instance("673e1726-cfc7-49d6-95b3-770673aa1505").collect::<Vec<_>>();
    assert_eq!(web.len(), 1);
    assert_eq!((&*web[0].instance_group, &*web[0].network, &*web[0].deployment), ("web", "default", "shop"));
    assert_eq!(web[0].address, Address { ip: "10.0.1.3".parse().unwrap(), prefix: None });
    assert_eq!((web[0].group_ids.len(), web[0].az.as_deref(), web[0].index), (2, Some("z1"), Some(0)));
    assert_eq!(web[0].agent_id.as_deref(), Some("919a14b3-3791-4178-95a0-1c24951b2c73"));
}

#[test]
fn aliases_are_read_and_one_of_another_shape_is_left_out() {
    assert!(!Records::read(WITH_ALIASES).unwrap().aliases.is_empty());
    let text = br#"{"record_keys":[],"record_infos":[],"aliases":{"a":5,"b":[{"group_id":"1","root_domain":"bosh"}]}}"#;
    assert_eq!(Records::read(text).unwrap().aliases.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn columns_are_found_by_their_name_wherever_it_stands() {
    let text = br#"{"record_infos":[["10.0.0.1","i-1","x",[1]]],"record_keys":["ip","id","new","group_ids"]}"#;
    let records = Records::read(text).unwrap();
    assert_eq!((&*records.rows[0].id, records.rows[0].address.ip), ("i-1", "10.0.0.1".parse::<IpAddr>().unwrap()));
    assert_eq!((records.version, &records.rows[0].group_ids[..]), (0, &["1".to_owned()][..]));
}

#[test]
fn one_row_that_cannot_be_read_costs_that_row_and_is_named() {
    let rows =
        r#"[["a","10.0.0.1"],["b","nonsense"],["c",null],[null,"10.0.0.3"],5,[],{"x":1},["d"],["e","10.0.0.5",9,9]]"#;
    let records = Records::read(&file(r#"["id","ip"]"#, rows)).unwrap();
    assert_eq!(records.rows.iter().map(|row| &*row.id).collect::<Vec<_>>(), ["a", "e"]);
    assert_eq!(records.unreadable_rows, 7);
    assert_eq!(records.unreadable[0], r#"record_infos[1].ip: "nonsense" is no IP address"#);
}

#[test]
fn thousands_of_unreadable_rows_are_counted_and_few_are_named() {
    let rows = format!("[{}]", vec!["5"; 5000].join(","));
    let records = Records::read(&file(r#"["id","ip"]"#, &rows)).unwrap();
    assert_eq!((records.unreadable_rows, records.unreadable.len()), (5000, MAX_NAMED));
}

#[test]
fn what_is_no_such_file_is_refused() {
    for text in
        [&b""[..], b"null", b"[]", b"{}", br#"{"record_keys":[]}"#, br#"{"record_infos":[]}"#, b"{\"record_keys\":"]
    {
        assert!(Records::read(text).is_err(), "{}", String::from_utf8_lossy(text));
    }
    let cut = &RECORDED[..RECORDED.len() / 2];
    assert!(Records::read(cut).is_err());
}

#[test]
fn only_the_rows_that_are_wanted_are_kept() {
    let mine = Records::read_where(RECORDED, |row| row.id == "673e1726-cfc7-49d6-95b3-770673aa1505").unwrap();
    assert_eq!(mine.rows.len(), 1);
}
