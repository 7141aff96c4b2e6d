use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::*;

fn value(text: &str) -> Value {
    from_text(text, &Limits::default()).unwrap()
}

fn refusal(text: &str) -> YamlError {
    from_text::<Value>(text, &Limits::default()).unwrap_err()
}

fn laughs(levels: usize) -> String {
    let mut text = "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n".to_owned();
    for level in 1..levels {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    text
}

fn merge_bomb() -> String {
    let mut text = "a0: &a0 {k0: 1}\n".to_owned();
    for level in 1..28 {
        text += &format!("a{level}: &a{level} {{<<: [*a{0}, *a{0}], k{level}: 1}}\n", level - 1);
    }
    text
}

fn quadratic() -> String {
    format!("x: &x [{}]\ny: [{}]\n", vec!["abcdefghij"; 5000].join(","), vec!["*x"; 2000].join(","))
}

fn repeated_scalar() -> String {
    format!("x: &x {}\ny: [{}]\n", "A".repeat(100_000), vec!["*x"; 20_000].join(","))
}

/// Peak of resident memory of the whole test process, so other tests only make a bound on it stricter.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn merge_keys_apply_also_when_chained_and_later_keys_win() {
    let text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 9}\ne: &e {<<: *a, q: 1}\nf: {<<: *e}\ng: {y: 9, <<: *a}\n";
    let read = value(text);
    assert_eq!(read["g"], json!({"x": 1, "y": 1}), "Psych overwrites what stands before the merge");
    assert_eq!(read["c"], json!({"x": 1, "y": 9, "z": 2}));
    assert_eq!(read["f"], json!({"x": 1, "y": 1, "q": 1}));
}

#[test]
fn scalars_are_read_as_ruby_reads_them() {
    assert_eq!(value("[yes, off, 010, 0x1F, 1_000, '010', ~]"), json!([true, false, 8, 31, 1000, "010", null]));
}

#[test]
fn the_last_of_duplicate_keys_counts_as_it_does_for_the_director() {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    assert_eq!(value("a: 1\na: 2\n"), json!({"a": 2}));
    assert_eq!(from_text::<Named>("name: a\nother: 1\nname: b\n", &Limits::default()).unwrap().name, "b");
}

#[test]
fn a_thousand_uses_of_one_anchor_are_an_ordinary_manifest() {
    let text = format!("x: &x {{a: 1}}\ny: [{}]\n", vec!["*x"; 1000].join(","));
    assert_eq!(value(&text)["y"].as_array().unwrap().len(), 1000);
}

#[test]
fn a_long_licence_comment_is_no_reason_to_refuse() {
    let text = format!("a:\n{}- 1\n", "# comment\n".repeat(5000));
    assert_eq!(value(&text), json!({"a": [1]}));
}

#[test]
fn what_aliases_expand_to_is_bounded_in_time_and_memory() {
    let before = peak_megabytes();
    for (name, bomb) in [
        ("billion laughs", laughs(9)),
        ("quadratic", quadratic()),
        ("scalar", repeated_scalar()),
        ("self", "a: &a [*a]\n".to_owned()),
        ("nesting", "[".repeat(100_000) + &"]".repeat(100_000)),
        ("nested maps", "{a: ".repeat(100_000) + &"}".repeat(100_000)),
    ] {
        let began = Instant::now();
        let error = refusal(&bomb);
        assert!(matches!(error, YamlError::Refused { .. }), "{name}: {error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{name} took {:?}", began.elapsed());
    }
    let began = Instant::now();
    assert_eq!(value(&merge_bomb())["a27"].as_object().unwrap().len(), 28, "each merged map is gone through once");
    let many = from_text::<IgnoredAny>(&format!("[{}]", "1,".repeat(1_900_000)), &Limits::default());
    assert!(many.is_ok(), "what is not looked at is only counted");
    let brackets = format!("{}{}{}", "[".repeat(1_000), "1,".repeat(1_000_000), "]".repeat(1_000));
    assert!(refusal(&brackets).to_string().contains("work"), "the scanner looks at every level at every token");
    assert!(began.elapsed() < Duration::from_secs(20), "took {:?}", began.elapsed());
    let grown = peak_megabytes() - before;
    assert!(grown < 200, "{grown} MB");
}

#[test]
fn a_text_over_the_size_limit_is_refused_unread() {
    let limits = Limits { bytes: 10, ..Limits::default() };
    let error = from_text::<Value>("a: 1234567890", &limits).unwrap_err();
    assert_eq!(error.to_string(), "the YAML text has 13 bytes, at most 10 are read");
}

#[test]
fn an_error_names_line_and_column_and_never_shows_the_text() {
    let error = refusal("name: a\npassword: hunter2\n  port: [1, 2\n");
    let YamlError::Refused { line, .. } = &error else { panic!("{error}") };
    assert!(*line >= 2, "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
    assert_eq!(error.to_string().matches("line").count(), 1, "{error}");
}

/// Expected values as Psych reads them.
#[test]
fn a_text_may_end_without_a_line_break_wherever_it_ends() {
    for (text, read) in [
        ("a: |\n  hun", json!({"a": "hun"})),
        ("a: >\n  hun", json!({"a": "hun"})),
        ("a: |+\n  hun", json!({"a": "hun"})),
        ("a: |-\n  hun", json!({"a": "hun"})),
        ("a: |\n  hun\n", json!({"a": "hun\n"})),
        ("a: |\n  hun\n\n  der", json!({"a": "hun\n\nder"})),
        ("- a\n- |\n  b\n  c", json!(["a", "b\nc"])),
        ("a: |", json!({"a": ""})),
        ("a: 1 # b", json!({"a": 1})),
        ("a: 'b'", json!({"a": "b"})),
        ("a:", json!({"a": null})),
    ] {
        assert_eq!(value(text), read, "{text:?}");
    }
}

#[test]
fn a_list_where_text_is_wanted_is_refused_and_its_place_is_never_taken_for_a_text() {
    let error = from_text::<Vec<String>>("[\u{fffd}\u{fffd}, [a, b]]", &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("sequence"), "{error}");
}

#[test]
fn a_positioned_value_says_where_it_is_written_also_when_it_is_null_or_an_alias() {
    let text = "a: &a {b: 1}\nc:\n- x\n-\n- *a\n";
    type Root = std::collections::BTreeMap<String, Positioned<Value>>;
    let root: Root = from_text(text, &Limits::default()).unwrap();
    assert_eq!(root["a"], Positioned { line: 1, column: 4, value: json!({"b": 1}) });
    let items: std::collections::BTreeMap<String, Vec<Positioned<Value>>> =
        from_text("c:\n- x\n-\n- {k: v}\n", &Limits::default()).unwrap();
    let at: Vec<_> = items["c"].iter().map(|item| (item.line, item.column)).collect();
    assert_eq!(at[0], (2, 3));
    assert_eq!(at[2], (4, 3));
    assert_eq!(items["c"][1].value, Value::Null);
    assert_eq!(root["c"].value, json!(["x", null, {"b": 1}]));
}

#[test]
fn a_wrong_shape_in_a_positioned_value_keeps_its_own_place() {
    let error = from_text::<Positioned<Vec<Positioned<u16>>>>("- 1\n- x\n", &Limits::default()).unwrap_err();
    assert!(error.to_string().starts_with("YAML line 2, column 3:"), "{error}");
}
