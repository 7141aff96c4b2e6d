use super::*;

fn port(name: &str, number: i64) -> WrittenPort {
    WrittenPort { name: Written::Text(name.into()), number: Written::Integer(number), ..WrittenPort::default() }
}

fn with_ports(expose_ports: WrittenPorts) -> WrittenDeployment {
    let job = WrittenJob { name: "httpbin".into(), expose_ports, addon: None, runtime_config: None };
    let group = WrittenGroup { name: "banana".into(), jobs: vec![job], ..WrittenGroup::default() };
    WrittenDeployment { name: "sample".into(), groups: vec![group], ..WrittenDeployment::default() }
}

fn entries(ports: Vec<WrittenPort>) -> WrittenDeployment {
    with_ports(WrittenPorts::List(ports.into_iter().map(WrittenPortEntry::Port).collect()))
}

fn problems(written: &WrittenDeployment) -> Vec<String> {
    written.check().unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_named_and_numbered_port_is_exposed_as_tcp() {
    let groups = entries(vec![port("http", 9002)]).check().unwrap();
    let exposed = &groups[0].jobs[0].ports;
    assert_eq!(exposed.len(), 1);
    assert_eq!((exposed[0].name.as_str(), exposed[0].number, exposed[0].protocol), ("http", 9002, Protocol::Tcp));
}

#[test]
fn a_problem_names_deployment_group_job_and_key() {
    assert_eq!(
        problems(&entries(vec![port("http", 0)])),
        [
            r#"deployment "sample", instance group "banana", job "httpbin", expose_ports[0].number: must be between 1 and 65535, is 0"#
        ]
    );
}

#[test]
fn every_problem_is_reported_at_once() {
    let bad = WrittenPort { unknown: vec!["colour".into()], ..port("a|b", 70_000) };
    assert_eq!(problems(&entries(vec![bad])).len(), 3);
}

#[test]
fn names_and_numbers_are_unique_in_a_job() {
    let found = problems(&entries(vec![port("a", 1), port("a", 2), port("b", 1)]));
    assert!(found[0].contains("expose_ports[1].name"), "{found:?}");
    assert!(found[1].contains("expose_ports[2].number"), "{found:?}");
}

#[test]
fn variables_are_refused_wherever_text_is_written() {
    let bad = WrittenPort { number: Written::Text("((port))".into()), ..port("((name))", 1) };
    let found = problems(&entries(vec![bad]));
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|problem| problem.contains("((variable))")));
}

#[test]
fn wrong_shapes_are_named_by_what_they_are() {
    assert!(problems(&with_ports(WrittenPorts::Other("a map")))[0].ends_with("expose_ports: must be a list, is a map"));
    let text = WrittenPorts::List(vec![WrittenPortEntry::Other("text")]);
    assert!(problems(&with_ports(text))[0].contains("expose_ports[0]: must be a map"));
}

fn captured(more: WrittenPort) -> WrittenPort {
    let WrittenPort { name, number, .. } = port("http", 9002);
    WrittenPort { name, number, ingress: Written::Text("capture".into()), ..more }
}

fn ingress(port: WrittenPort) -> Option<Ingress> {
    entries(vec![port]).check().unwrap()[0].jobs[0].ports[0].ingress
}

#[test]
fn a_port_is_captured_when_it_says_so_and_stays_open_without_envoy_unless_it_says_otherwise() {
    let text = |text: &str| Written::Text(text.into());
    assert_eq!(ingress(port("http", 9002)), None);
    assert_eq!(ingress(WrittenPort { ingress: text("direct"), ..port("http", 9002) }), None);
    let open = Ingress { fallback: Fallback::Open, original_src: false };
    assert_eq!(ingress(captured(WrittenPort::default())), Some(open));
    assert_eq!(ingress(captured(WrittenPort { ingress_fallback: text("open"), ..WrittenPort::default() })), Some(open));
    let all = WrittenPort {
        ingress_fallback: text("closed"),
        original_src: Written::Boolean(true),
        ..WrittenPort::default()
    };
    assert_eq!(ingress(captured(all)), Some(Ingress { fallback: Fallback::Closed, original_src: true }));
}

#[test]
fn what_is_wrong_about_a_capture_is_told_with_its_place() {
    let text = |text: &str| Written::Text(text.into());
    let cases = [
        (
            WrittenPort { ingress: text("sniff"), ..port("http", 1) },
            ".ingress: must be `direct` or `capture`, is \"sniff\"",
        ),
        (WrittenPort { ingress: Written::Boolean(true), ..port("http", 1) }, ".ingress: must be text, is a boolean"),
        (
            captured(WrittenPort { ingress_fallback: text("drop"), ..WrittenPort::default() }),
            ".ingress_fallback: must be `open` or `closed`, is \"drop\"",
        ),
        (
            captured(WrittenPort { original_src: text("yes"), ..WrittenPort::default() }),
            ".original_src: must be true or false, is the text \"yes\"",
        ),
        (
            WrittenPort { ingress_fallback: text("closed"), ..port("http", 1) },
            ".ingress_fallback: is only for a port with `ingress: capture`",
        ),
        (
            WrittenPort { original_src: Written::Boolean(false), ..port("http", 1) },
            ".original_src: is only for a port with `ingress: capture`",
        ),
    ];
    for (port, told) in cases {
        let found = problems(&entries(vec![port]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("deployment \"sample\"") && found[0].ends_with(&format!("expose_ports[0]{told}")),
            "{found:?}"
        );
    }
}

#[test]
fn ports_of_the_platform_and_of_the_mesh_are_exposed_and_never_captured() {
    for number in NEVER_CAPTURED {
        assert_eq!(ingress(port("http", number.into())), None);
        let found = problems(&entries(vec![WrittenPort {
            number: Written::Integer(number.into()),
            ..captured(WrittenPort::default())
        }]));
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with(&format!(
            "expose_ports[0].ingress: must not be `capture` for port {number}, which is the platform's"
        )));
    }
}

#[test]
fn facts_that_an_older_release_kept_are_read() {
    let older = r#"{"deployments": [{"name": "sample", "groups": [], "instances": []}]}"#;
    let read: Inventory = serde_json::from_str(older).unwrap();
    let sample = Deployment { name: "sample".into(), ..Deployment::default() };
    assert_eq!(read, Inventory { deployments: vec![sample], ..Inventory::default() });
}
