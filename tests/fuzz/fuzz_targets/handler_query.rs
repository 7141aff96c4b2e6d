//! A question of bosh-dns: `NAME`, a new line, `TYPE`; a part that is `-` is absent.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use boshy_dns::{
    Zone,
    handler::{HandlerQuery, answer},
};
use boshy_fuzz::names;
use boshy_mesh::Tld;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static KNOWN: LazyLock<Zone> = LazyLock::new(|| Zone::build(&names(), &Tld::default(), 7));
static NOT_KNOWN: LazyLock<Zone> = LazyLock::new(|| Zone::not_known_yet(&Tld::default()));
static ADDRESSES: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| names().iter().map(|(host, vip)| (host.to_string(), vip.to_string())).collect());

fuzz_target!(|text: &str| {
    let (name, qtype) = text.split_once('\n').unwrap_or((text, "-"));
    let given = |part| Some(part).filter(|part| *part != "-");
    let query = HandlerQuery { name: given(name), qtype: given(qtype) };
    let (status, body) = asked(&KNOWN, query);
    assert!(matches!(status, 200 | 400), "{status}");

    let is_a = query.qtype.is_none_or(|qtype| qtype.parse() == Ok(1_u16));
    let lower = query.name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
    let address = lower.filter(|_| is_a).and_then(|name| ADDRESSES.get(&name));
    let answers = body["Answer"].as_array().expect("a list of answers");
    assert_eq!(answers.first().and_then(|answer| answer["data"].as_str()), address.map(String::as_str));
    assert!(answers.len() <= 1 && (answers.is_empty() || status == 200));

    let (status, body) = asked(&NOT_KNOWN, query);
    assert!(matches!(status, 200 | 400 | 503), "{status}");
    assert_eq!(body["Answer"], Value::Array(Vec::new()));
});

fn asked(zone: &Zone, query: HandlerQuery<'_>) -> (u16, Value) {
    let answer = answer(zone, query);
    let body: Value = serde_json::from_str(&answer.body).expect("a JSON body");
    assert_eq!(body["TC"], Value::Bool(false));
    if let (Some(name), Some(question)) = (query.name, body["Question"].get(0)) {
        assert_eq!(question["name"], name);
    }
    (answer.status, body)
}
