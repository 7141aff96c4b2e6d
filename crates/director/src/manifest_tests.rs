use serde_json::Value;

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/director/");

fn text_of(fixture: &str) -> String {
    let body = std::fs::read_to_string(format!("{FIXTURES}{fixture}")).unwrap();
    let value: Value = serde_json::from_str(&body).unwrap();
    value["manifest"].as_str().unwrap().to_owned()
}

fn read_ok(text: &str) -> WrittenDeployment {
    read("d", text, &Limits::default()).unwrap()
}

fn only_ports(ports: &str) -> WrittenPorts {
    let text = format!("instance_groups:\n- name: g\n  jobs:\n  - name: j\n    expose_ports: {ports}\n");
    read_ok(&text).groups.remove(0).jobs.remove(0).expose_ports
}

fn exposed(written: &WrittenDeployment) -> Vec<(String, String, u16)> {
    let groups = written.check().unwrap();
    let jobs = groups.iter().flat_map(|group| group.jobs.iter().map(move |job| (group, job)));
    jobs.flat_map(|(group, job)| {
        job.ports.iter().map(|port| (group.name.clone(), port.name.as_str().to_owned(), port.number))
    })
    .collect()
}

#[test]
fn what_the_operator_sent_and_what_the_director_redumped_mean_the_same() {
    let sent = read("shop", &text_of("deployment_manifest.json"), &Limits::default()).unwrap();
    let dumped =
        read("shop", &text_of("deployment_manifest_after_converged_restart.json"), &Limits::default()).unwrap();
    assert_eq!(sent, dumped);
    let expected = [
        ("web", "http-web", 8080),
        ("catalog", "http-api", 9001),
        ("catalog", "tcp-raw", 9002),
        ("db", "tcp-pg", 5432),
    ]
    .map(|(group, port, number)| (group.to_owned(), port.to_owned(), number));
    assert_eq!(exposed(&sent), expected);
    assert_eq!(
        sent.groups.iter().filter(|group| group.errand).map(|group| &group.name).collect::<Vec<_>>(),
        ["smoke-tests"]
    );
}

#[test]
fn the_name_is_the_one_the_director_lists() {
    assert_eq!(read("listed", "name: written\n", &Limits::default()).unwrap().name, "listed");
}

#[test]
fn ports_may_come_through_anchors_and_chained_merges() {
    let text = "
x-port: &port {protocol: tcp, number: 1}
x-more: &more {<<: *port, number: 9002}
instance_groups:
- name: g
  jobs:
  - name: j
    expose_ports: &list
    - {<<: *more, name: http}
  - name: k
    expose_ports: *list
";
    assert_eq!(
        exposed(&read_ok(text)),
        [("g".to_owned(), "http".to_owned(), 9002), ("g".to_owned(), "http".to_owned(), 9002)]
    );
}

#[test]
fn any_shape_under_expose_ports_is_kept_as_written() {
    for (text, expected) in [
        ("", WrittenPorts::Absent),
        ("~", WrittenPorts::Absent),
        ("8080", WrittenPorts::Other("a number")),
        ("http", WrittenPorts::Other("text")),
        ("true", WrittenPorts::Other("a boolean")),
        ("1.5", WrittenPorts::Other("a float")),
        ("{name: a, number: [1, {b: c}]}", WrittenPorts::Other("a map")),
        ("[1]", WrittenPorts::List(vec![WrittenPortEntry::Other("a number")])),
        ("[[{a: b}]]", WrittenPorts::List(vec![WrittenPortEntry::Other("a list")])),
        ("[~]", WrittenPorts::List(vec![WrittenPortEntry::Other("null")])),
    ] {
        assert_eq!(only_ports(text), expected, "{text:?}");
    }
}

#[test]
fn scalars_of_a_port_are_kept_with_their_kind() {
    let entry = |text: &str| match only_ports(&format!("[{text}]")) {
        WrittenPorts::List(mut entries) => match entries.remove(0) {
            WrittenPortEntry::Port(port) => port,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let port = entry("{name: http, number: 0x50, colour: {r: 1}, 7: x}");
    assert_eq!((port.name, port.number), (Written::Text("http".into()), Written::Integer(80)));
    assert_eq!(port.unknown, ["colour", "7"]);
    let port = entry("{name: 12, number: '80', protocol: yes}");
    assert_eq!((port.name, port.number), (Written::Integer(12), Written::Text("80".into())));
    assert_eq!(port.protocol, Written::Other("a boolean"));
    let port = entry("{name: ((n)), number: ((port)), protocol: [tcp]}");
    assert_eq!((port.name, port.number), (Written::Text("((n))".into()), Written::Text("((port))".into())));
    assert_eq!(port.protocol, Written::Other("a list"));
    assert_eq!(entry("{number: 18446744073709551615}").number, Written::Other("a number beyond 64 bits"));
    assert_eq!(entry("{number: 1e3}").number, Written::Other("a float"));
}

#[test]
fn a_text_without_groups_exposes_nothing() {
    assert_eq!(read_ok("name: a\n").groups, []);
    assert_eq!(read_ok("name: a\ninstance_groups:\n").groups, []);
    assert_eq!(read_ok("name: a\ninstance_groups:\n- name: g\n").groups[0].jobs, []);
}

#[test]
fn a_manifest_of_the_wrong_shape_is_refused_with_its_line() {
    let error = read("d", "name: a\ninstance_groups:\n  g: 1\n", &Limits::default()).unwrap_err();
    assert!(error.to_string().starts_with("YAML line 3, column "), "{error}");
    assert!(read("d", "instance_groups: [", &Limits::default()).is_err());
    assert!(read("d", "instance_groups:\n- jobs: []\n", &Limits::default()).is_err());
}

#[test]
fn an_alias_bomb_under_expose_ports_is_bounded_as_everywhere() {
    let name = "A".repeat(100_000);
    let ports = vec!["{name: *x, number: 1}"; 20_000].join(",");
    let text =
        format!("x: &x {name}\ninstance_groups:\n- name: g\n  jobs:\n  - name: j\n    expose_ports: [{ports}]\n");
    assert!(read("d", &text, &Limits::default()).is_err());
}
