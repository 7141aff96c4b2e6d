use boshy_mesh::{Written, WrittenPortEntry};
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
        (".inf", WrittenPorts::Other("a float")),
        ("2026-01-01", WrittenPorts::Other("a date")),
        ("!!binary /w==", WrittenPorts::Other("binary data")),
        ("!ruby/object:Foo {}", WrittenPorts::Other("an object of Ruby")),
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
    assert_eq!(port.protocol, Written::Boolean(true));
    let port = entry("{name: ((n)), number: ((port)), protocol: [tcp]}");
    assert_eq!((port.name, port.number), (Written::Text("((n))".into()), Written::Text("((port))".into())));
    assert_eq!(port.protocol, Written::Other("a list"));
    assert_eq!(entry("{number: 18446744073709551615}").number, Written::Other("a number beyond 64 bits"));
    assert_eq!(entry("{number: 1e3}").number, Written::Text("1e3".into()), "Ruby wants a dot in a float");
    assert_eq!(entry("{number: 8_080}").number, Written::Integer(8080));
    assert_eq!(entry("{number: 1.0e+3}").number, Written::Other("a float"));
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

/// The problems of a manifest, and the ports that it exposes.
fn told(text: &str) -> (Vec<String>, Vec<(String, String, u16)>) {
    let written = read_ok(text);
    (written.problems.iter().map(ToString::to_string).collect(), exposed(&written))
}

#[test]
fn ports_that_are_exposed_where_nobody_reads_them_are_named_with_where_they_belong() {
    let at = |text: &str| format!("instance_groups:\n- name: web\n  jobs:\n  - name: app\n{text}");
    let ports = "[{name: http, number: 80}]";
    for (what, text, place) in [
        (
            "a job's properties",
            at(&format!("    properties: {{a: {{expose_ports: {ports}}}}}\n")),
            r#"deployment "d", instance group "web", job "app", properties.a.expose_ports: has no effect among properties"#,
        ),
        (
            "a group",
            at(&format!("  expose_ports: {ports}\n")),
            r#"deployment "d", instance group "web", expose_ports: has no effect here"#,
        ),
        (
            "a group's properties",
            at(&format!("  properties: {{expose_ports: {ports}}}\n")),
            r#"deployment "d", instance group "web", properties.expose_ports: has no effect among properties"#,
        ),
        ("the manifest", format!("expose_ports: {ports}\n"), r#"deployment "d", expose_ports: has no effect here"#),
        (
            "the manifest's properties",
            format!("properties: {{expose_ports: {ports}}}\n"),
            r#"deployment "d", properties.expose_ports: "#,
        ),
        (
            "a list",
            format!("x: [1, {{y: [{{expose_ports: {ports}}}]}}]\n"),
            r#"deployment "d", x[1].y[0].expose_ports: has no effect here"#,
        ),
        (
            "misspelt",
            at(&format!("    expose_port: {ports}\n")),
            r#"deployment "d", instance group "web", job "app", expose_port: is not known"#,
        ),
        (
            "misspelt otherwise",
            at(&format!("    ExposedPorts: {ports}\n")),
            r#"instance group "web", job "app", ExposedPorts: is not known"#,
        ),
        (
            "misspelt at the group",
            at(&format!("  expose-ports: {ports}\n")),
            r#"instance group "web", expose-ports: is not known"#,
        ),
        (
            "an addon",
            format!("addons:\n- name: all\n  expose_ports: {ports}\n  jobs: [{{name: j, release: r}}]\n"),
            r#"deployment "d", addon "all", expose_ports: has no effect here"#,
        ),
        (
            "properties of an addon's job",
            format!("addons:\n- name: all\n  jobs: [{{name: j, properties: {{expose_ports: {ports}}}}}]\n"),
            r#"deployment "d", addon "all", job "j", properties.expose_ports: has no effect among properties"#,
        ),
        (
            "an errand",
            at(&format!("    expose_ports: {ports}\n  lifecycle: errand\n")),
            r#"instance group "web", job "app", expose_ports: has no effect in an errand"#,
        ),
        (
            "an addon for nobody",
            format!("addons:\n- name: all\n  include: {{azs: [z9]}}\n  jobs: [{{name: j, expose_ports: {ports}}}]\n"),
            r#"deployment "d", addon "all", job "j", expose_ports: has no effect: the addon is for no instance group"#,
        ),
    ] {
        let (problems, exposed) = told(&text);
        assert_eq!(problems.len(), 1, "{what}: {problems:?}");
        assert!(problems[0].contains(place), "{what}: {}", problems[0]);
        assert!(
            what.contains("errand")
                || what.contains("for nobody")
                || problems[0].contains("instance_groups[].jobs[].expose_ports"),
            "{what}: {}",
            problems[0]
        );
        assert!(what.contains("errand") || exposed.is_empty(), "{what}");
    }
    let (problems, exposed) =
        told(&at("    expose_ports: [{name: a, number: 1}]\n    expose_ports: [{name: b, number: 2}]\n"));
    assert!(problems.len() == 1 && problems[0].contains("the last one counts"), "{problems:?}");
    assert_eq!(exposed, [("web".to_owned(), "b".to_owned(), 2)]);
}

#[test]
fn ports_that_somebody_reads_are_no_problem_wherever_they_are_written() {
    let text = "
x-job: &job {name: app, expose_ports: [{name: http, number: 80}]}
x-ports: &ports {expose_ports: [{name: api, number: 81}]}
x-list: &list [{name: raw, number: 82}]
properties: {docker: {exposed_ports: [1]}}
instance_groups:
- name: web
  jobs:
  - *job
  - {name: api, <<: *ports}
  - {name: raw, \"expose_ports\": *list, properties: {exposed_port: 5}}
";
    let (problems, exposed) = told(text);
    assert_eq!(problems, [""; 0]);
    assert_eq!(exposed.iter().map(|(_, _, number)| *number).collect::<Vec<_>>(), [80, 81, 82]);
}

#[test]
fn jobs_of_addons_go_to_the_groups_that_a_director_gives_them_to() {
    let with = |filter: &str| {
        let text = format!(
            "
stemcells:
- {{alias: jammy, os: ubuntu-jammy, version: '1'}}
- {{alias: noble, name: bosh-google-kvm-ubuntu-noble-go_agent, version: '1'}}
addons:
- name: extra
  {filter}
  jobs:
  - {{name: side, release: r, expose_ports: [{{name: http, number: 90}}]}}
instance_groups:
- {{name: web, azs: [z1], stemcell: jammy, networks: [{{name: a}}], jobs: [{{name: app, release: r}}]}}
- {{name: db, azs: [z1, z2], stemcell: noble, networks: [{{name: b}}], jobs: [{{name: sql, release: s}}]}}
- {{name: tests, azs: [z2], lifecycle: errand, stemcell: noble, networks: [{{name: b}}], jobs: [{{name: app, release: other}}]}}
"
        );
        let written = read_ok(&text);
        let groups = written.check().unwrap();
        let has = |group: &&boshy_mesh::InstanceGroup| {
            group.jobs.iter().any(|job| job.name == "side" && !job.ports.is_empty())
        };
        groups.iter().filter(has).map(|group| group.name.clone()).collect::<Vec<_>>()
    };
    for (filter, groups) in [
        ("", &["web", "db", "tests"][..]),
        ("include:", &["web", "db", "tests"]),
        ("include: {jobs: [{name: app, release: r}]}", &["web"]),
        ("include: {stemcell: [{os: ubuntu-noble}]}", &["db", "tests"]),
        ("include: {stemcell: [{os: ubuntu-noble}], lifecycle: service}", &["db"]),
        ("include: {azs: [z2]}", &["db", "tests"]),
        ("include: {networks: [a]}", &["web"]),
        ("include: {instance_groups: [web, db]}\n  exclude: {networks: [b]}", &["web"]),
        ("exclude: {lifecycle: errand}", &["web", "db"]),
        ("exclude: {azs: [z1], networks: [b]}", &["web", "tests"]),
        ("include: {teams: [nobody]}", &["web", "db", "tests"]),
        ("exclude: {}", &["web", "db", "tests"]),
    ] {
        assert_eq!(with(filter), groups, "{filter}");
    }
}

#[test]
fn an_addon_sees_the_jobs_of_the_addons_before_it() {
    let text = "
addons:
- {name: one, jobs: [{name: first, release: r}]}
- {name: two, include: {jobs: [{name: first, release: r}]}, jobs: [{name: second, release: r, expose_ports: [{name: a, number: 1}]}]}
instance_groups: [{name: web, jobs: [{name: app, release: r}]}]
";
    assert_eq!(told(text), (vec![], vec![("web".to_owned(), "a".to_owned(), 1)]));
}

#[test]
fn a_wrong_port_of_an_addon_is_named_once_with_the_addon() {
    let text = "
addons: [{name: extra, jobs: [{name: side, release: r, expose_ports: [{name: http, number: 0}]}]}]
instance_groups: [{name: web, jobs: []}, {name: db, jobs: []}]
";
    let problems: Vec<_> = read_ok(text).check().unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [r#"deployment "d", addon "extra", job "side", expose_ports[0].number: must be between 1 and 65535, is 0"#]
    );
}

#[test]
fn networks_and_former_groups_are_read() {
    let text = "
instance_groups:
- name: web
  migrated_from: [{name: old_web, az: z1}, 5, {name: older}]
  networks:
  - {name: priv, default: [dns, gateway]}
  - {name: vip, static_ips: [34.1.2.3, 10.0.0.1 - 10.0.0.9, nonsense, 7]}
  - nonsense
";
    let group = &read_ok(text).groups[0];
    assert_eq!(group.migrated_from, ["old_web", "older"]);
    assert_eq!(group.networks[0].default, ["dns", "gateway"]);
    let ip = |text: &str| text.parse().unwrap();
    assert_eq!(group.networks[1].static_ips, [(ip("34.1.2.3"), ip("34.1.2.3")), (ip("10.0.0.1"), ip("10.0.0.9"))]);
}

#[test]
fn what_the_mesh_does_not_look_at_cannot_make_a_manifest_fail() {
    let good = "instance_groups: [{name: web, jobs: [{name: app, expose_ports: [{name: http, number: 80}]}]}]\n";
    let deep = |levels: usize| format!("x: {}{}\n", "[".repeat(levels), "]".repeat(levels));
    let many = format!("x: [{}]\n", "1,".repeat(300_000));
    let aliases = (1..40).map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1)).collect::<String>();
    for (what, text) in [
        ("infinity", "x: [.inf, -.INF, .nan]\n".to_owned()),
        ("binary", "x: !binary gIGC\ny: !!binary /w==\n".to_owned()),
        ("a null key", "? \n: 1\n~: 2\n".to_owned()),
        (
            "keys of all kinds",
            "1: a\n1.5: b\ntrue: c\n2020-01-01: d\n? [a, b]\n: e\n? {c: d}\n: f\n:sym: g\n".to_owned(),
        ),
        ("depth", deep(900)),
        ("nodes", many),
        ("a merge key in quotes", "y: &y {a: 1}\nx: {\"<<\": *y}\nz: {'<<': 5}\n".to_owned()),
        ("a merge of no map", "x: {<<: [1, 2]}\ny: {<<: text}\n".to_owned()),
        ("objects", "x: !ruby/object:Foo {a: 1}\ny: !ruby/regexp /a/\nz: !foo bar\n".to_owned()),
        ("sets and ordered maps", "x: !!set {a, b}\ny: !!omap [a: 1, b: 2]\n".to_owned()),
        ("dates", "x: 2020-01-01\ny: 2020-01-01 10:00:00 +01:00\nz: !!timestamp 2020-13-77\n".to_owned()),
        ("an alias to itself", "x: &x [*x]\ny: &y {<<: *y}\n".to_owned()),
        ("aliases that would expand without end", format!("a0: &a0 [x]\n{aliases}")),
        ("a large number", format!("x: {}\n", "9".repeat(5000))),
    ] {
        let (problems, exposed) = told(&format!("{text}{good}"));
        assert_eq!((problems, exposed), (vec![], vec![("web".to_owned(), "http".to_owned(), 80)]), "{what}");
    }
    let framed = [
        ("a second document", format!("{good}---\nx: [\n")),
        ("a directive", format!("%YAML 1.1\n---\n{good}...\n")),
        ("a byte-order mark", format!("\u{feff}{good}")),
        ("carriage returns", good.replace('\n', "\r\n")),
        ("a comment of megabytes", format!("{}{good}", "# comment\n".repeat(300_000))),
    ];
    for (what, text) in framed {
        assert_eq!(told(&text), (vec![], vec![("web".to_owned(), "http".to_owned(), 80)]), "{what}");
    }
}
