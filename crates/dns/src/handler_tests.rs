use boshy_mesh::Tld;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::zone;

fn ask<'q>(name: impl Into<Option<&'q str>>, qtype: impl Into<Option<&'q str>>) -> (u16, Value) {
    let answered = answer(&zone(), HandlerQuery { name: name.into(), qtype: qtype.into() });
    (answered.status, serde_json::from_str(&answered.body).unwrap())
}

#[test]
fn a_known_name_is_answered_with_every_key_of_the_protocol_and_no_other() {
    let (status, body) = ask("httpbin.banana.sample.boshy.", "1");
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({
            "Status": 0, "TC": false, "RD": false, "RA": false, "AD": false, "CD": false,
            "Question": [{"name": "httpbin.banana.sample.boshy.", "type": 1}],
            "Answer": [{"name": "httpbin.banana.sample.boshy.", "type": 1, "TTL": 30, "data": "169.254.255.2"}],
            "Additional": [],
            "edns_client_subnet": "0.0.0.0/0"
        })
    );
}

#[test]
fn the_type_is_a_when_absent() {
    assert_eq!(ask("httpbin.banana.sample.boshy.", None).1["Answer"][0]["data"], "169.254.255.2");
}

#[test]
fn a_name_matches_without_case_and_final_dot_and_is_repeated_as_asked() {
    let (_, body) = ask("HttpBin.banana.SAMPLE.boshy", "1");
    assert_eq!(body["Answer"][0]["data"], "169.254.255.2");
    assert_eq!(body["Answer"][0]["name"], "HttpBin.banana.SAMPLE.boshy");
    assert_eq!(body["Question"][0]["name"], "HttpBin.banana.SAMPLE.boshy");
}

#[test]
fn another_type_has_an_empty_answer_and_needs_no_name() {
    for name in [Some("httpbin.banana.sample.boshy."), Some("nope.boshy."), None] {
        let (status, body) = ask(name, "28");
        assert_eq!((status, &body["Status"], &body["Answer"]), (200, &json!(0), &json!([])), "{name:?}");
        assert_eq!(body["Question"][0]["type"], 28);
    }
}

#[test]
fn an_unknown_name_is_status_3_with_an_empty_answer_and_never_nil() {
    for name in ["nope.boshy.", "x.httpbin.banana.sample.boshy", "a..boshy", &format!("{}.boshy", "a".repeat(64)), ""] {
        let (status, body) = ask(name, "1");
        assert_eq!((status, &body["Answer"]), (200, &json!([])), "{name}");
        assert_eq!(body["Status"], 3, "{name}");
    }
}

#[test]
fn an_ancestor_of_a_name_is_status_0_with_an_empty_answer() {
    let (status, body) = ask("banana.sample.boshy.", "1");
    assert_eq!((status, &body["Status"], &body["Answer"]), (200, &json!(0), &json!([])));
}

#[test]
fn another_zone_is_status_5_with_an_empty_answer() {
    let (status, body) = ask("example.org.", "1");
    assert_eq!((status, &body["Status"], &body["Answer"]), (200, &json!(5), &json!([])));
}

#[test]
fn a_missing_name_is_a_bad_request() {
    let (status, body) = ask(None, None);
    assert_eq!((status, &body["Status"], &body["Answer"]), (400, &json!(2), &json!([])));
    assert_eq!(body["Question"], json!([{"name": "", "type": 1}]));
}

#[test]
fn a_type_that_is_no_number_is_a_bad_request_in_valid_json() {
    for qtype in ["abc", "", "-1", "65536", "1\"}"] {
        let (status, body) = ask("httpbin.banana.sample.boshy.", qtype);
        assert_eq!((status, &body["Answer"], &body["Question"]), (400, &json!([]), &json!([])), "{qtype}");
    }
}

#[test]
fn before_the_first_name_table_the_handler_fails_instead_of_denying() {
    let query = HandlerQuery { name: Some("httpbin.banana.sample.boshy."), qtype: None };
    assert_eq!(answer(&Zone::not_known_yet(&Tld::default()), query).status, 503);
}

/// Names of any characters, including those that JSON escapes, and names that are or nearly are a service of the zone,
/// in any case.
fn any_name() -> impl Strategy<Value = String> {
    let written = "(x\\.|\\.)?[hH](ttpbin|TTPBIN)\\.(banana|BaNaNa)\\.sample\\.[bB]oshy(\\.|\\.\\.|\\.x)?";
    prop_oneof![prop::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter), written]
}

proptest! {
    #[test]
    fn any_name_and_type_give_valid_json_that_repeats_the_name(name in any_name(), qtype in "[0-9]{1,6}|1|\\PC{0,5}") {
        let (status, body) = ask(name.as_str(), qtype.as_str());
        prop_assert_eq!(status == 200, qtype.parse::<u16>().is_ok());
        if status == 200 {
            prop_assert_eq!(body["Question"][0]["name"].as_str(), Some(name.as_str()));
        }
        let known = name.trim_end_matches('.').eq_ignore_ascii_case("httpbin.banana.sample.boshy") && !name.ends_with("..");
        let answered = (known && qtype.parse() == Ok(1u16)).then_some(name.as_str());
        prop_assert_eq!(body["Answer"][0]["name"].as_str(), answered);
    }
}
