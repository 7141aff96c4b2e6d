use std::time::Duration;

use super::*;
use crate::{
    client::{Cause, Operation, TransportError},
    wire::ErrorBody,
};

const MANIFEST: &str = "
instance_groups:
- name: web
  jobs:
  - name: app
    expose_ports:
    - {name: http, number: 8080}
";

type MakeReading = fn() -> Reading;
type IsWiped = fn(&Deployment) -> bool;

fn settings() -> ObserverSettings {
    ObserverSettings {
        full_pass: Duration::from_secs(300),
        full_pass_without_events: Duration::from_secs(60),
        ..ObserverSettings::default()
    }
}

fn rows(names: &[&str]) -> Vec<DeploymentRow> {
    names.iter().map(|name| DeploymentRow { name: (*name).to_owned(), ..DeploymentRow::default() }).collect()
}

fn instance(ip: &str) -> InstanceRow {
    InstanceRow {
        job: "web".into(),
        index: Some(0),
        id: "uuid".into(),
        ips: vec![ip.into()],
        expects_vm: true,
        ..InstanceRow::default()
    }
}

fn good() -> Reading {
    Reading { manifest: Ok(Some(MANIFEST.into())), instances: Ok(vec![instance("10.0.0.1")]) }
}

fn error(cause: Cause) -> ClientError {
    ClientError { operation: Operation::Manifest("a".into()), cause }
}

fn status(status: u16, code: u32) -> ClientError {
    error(Cause::Status { status, error: Some(ErrorBody { code, description: "d".into() }) })
}

fn news(names: &[&str]) -> News {
    News { deployments: names.iter().map(|name| (*name).to_owned()).collect(), missed_some: false }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000 + seconds)
}

/// Facts about `a` and `b`, both read well at the start, when a full pass was due.
fn known() -> Facts {
    let mut facts = Facts::new(settings());
    assert!(facts.list(&rows(&["a", "b"])));
    assert_eq!(facts.due(&News::default(), true, at(0)), ["a", "b"]);
    facts.take("a", good(), at(0));
    facts.take("b", good(), at(0));
    facts
}

fn names(inventory: &Inventory) -> Vec<&str> {
    inventory.deployments.iter().map(|deployment| deployment.name.as_str()).collect()
}

#[test]
fn which_deployments_are_read_again() {
    let nothing = News::default;
    let missed = || News { missed_some: true, ..News::default() };
    for (what, listed, news, events_work, second, due) in [
        ("nothing happened", vec!["a", "b"], nothing(), true, 10, vec![]),
        ("a new one is listed", vec!["a", "b", "c"], nothing(), true, 10, vec!["c"]),
        ("an event names one", vec!["a", "b"], news(&["b"]), true, 10, vec!["b"]),
        ("an event names a stranger", vec!["a", "b"], news(&["x"]), true, 10, vec![]),
        ("events were missed", vec!["a", "b"], missed(), true, 10, vec!["a", "b"]),
        ("not yet a full pass", vec!["a", "b"], nothing(), true, 299, vec![]),
        ("a full pass", vec!["a", "b"], nothing(), true, 300, vec!["a", "b"]),
        ("no events, not yet", vec!["a", "b"], nothing(), false, 59, vec![]),
        ("no events, a shorter full pass", vec!["a", "b"], nothing(), false, 60, vec!["a", "b"]),
    ] {
        let mut facts = known();
        assert!(facts.list(&rows(&listed)));
        assert_eq!(facts.due(&news, events_work, at(second)), due, "{what}");
    }
}

#[test]
fn after_a_full_pass_the_period_begins_anew() {
    let mut facts = known();
    assert_eq!(facts.due(&News::default(), true, at(300)).len(), 2);
    facts.take("a", good(), at(300));
    facts.take("b", good(), at(300));
    assert_eq!(facts.due(&News::default(), true, at(599)), [""; 0]);
    assert_eq!(facts.due(&News::default(), true, at(600)).len(), 2);
}

#[test]
fn one_that_is_due_stays_due_until_it_was_read() {
    let mut facts = known();
    assert_eq!(facts.due(&news(&["a"]), true, at(1)), ["a"]);
    assert_eq!(facts.due(&News::default(), true, at(2)), ["a"]);
}

#[test]
fn readings_that_leave_something_to_be_desired_are_repeated_ever_more_slowly() {
    let cases: [(&str, MakeReading); 4] = [
        ("server error", || Reading { manifest: Err(status(500, 0)), ..good() }),
        ("no manifest yet", || Reading { manifest: Ok(None), ..good() }),
        ("bad manifest", || Reading { manifest: Ok(Some("[".into())), ..good() }),
        ("bad address", || Reading { instances: Ok(vec![instance("x")]), ..good() }),
    ];
    for (what, reading) in cases {
        let mut facts = Facts::new(settings());
        facts.list(&rows(&["a"]));
        facts.due(&News::default(), true, at(0));
        let (mut read_at, mut second) = (Vec::new(), 0);
        facts.take("a", reading(), at(0));
        while second < 120 {
            second += 1;
            if !facts.due(&News::default(), true, at(second)).is_empty() {
                read_at.push(second);
                facts.take("a", reading(), at(second));
            }
        }
        assert_eq!(read_at, [1, 6, 16, 36, 76], "{what}");
        facts.take("a", good(), at(121));
        assert_eq!(facts.due(&News::default(), true, at(290)), [""; 0], "{what}");
    }
    assert_eq!(pause(u32::MAX, 300), 300);
}

#[test]
fn those_that_fail_come_last() {
    let mut facts = known();
    facts.take("a", Reading { manifest: Err(status(500, 0)), ..good() }, at(1));
    assert_eq!(facts.due(&news(&["b"]), true, at(2)), ["b", "a"]);
}

#[test]
fn a_deployment_that_cannot_be_read_keeps_its_facts_and_says_why() {
    let before = known().inventory();
    let timed_out = Cause::Transport(TransportError::Timeout(Duration::from_secs(30)));
    for (reading, reason) in [
        (
            Reading { manifest: Err(status(500, 7)), ..good() },
            r#"cannot read the manifest of deployment "a": status 500: d (code 7)"#,
        ),
        (
            Reading { manifest: Err(error(timed_out)), ..good() },
            r#"cannot read the manifest of deployment "a": no answer: timed out after 30s"#,
        ),
        (
            Reading { manifest: Ok(Some("instance_groups: 1".into())), ..good() },
            r#"deployment "a", manifest: YAML line 1, column 18: "#,
        ),
        (
            Reading { manifest: Ok(Some(MANIFEST.replace("8080", "((port))"))), ..good() },
            r#"deployment "a", instance group "web", job "app", expose_ports[0].number: must not hold a ((variable))"#,
        ),
    ] {
        let mut facts = known();
        facts.take("a", reading, at(5));
        assert_eq!(facts.inventory(), before, "{reason}");
        let status = &facts.statuses()[0];
        assert_eq!((status.name.as_str(), status.last_good), ("a", Some(at(0))));
        let error = status.error.as_deref().unwrap();
        assert!(error.starts_with(reason), "{error}");
        assert_eq!(facts.statuses()[1].error, None, "the other is not touched");
        facts.take("a", good(), at(6));
        assert_eq!((facts.statuses()[0].last_good, &facts.statuses()[0].error), (Some(at(6)), &None));
    }
}

#[test]
fn instances_stay_fresh_while_the_manifest_is_bad() {
    let mut facts = known();
    let reading = Reading { manifest: Ok(Some("[".into())), instances: Ok(vec![instance("10.0.0.9")]) };
    facts.take("a", reading, at(5));
    let inventory = facts.inventory();
    assert_eq!(inventory.deployments[0].instances[0].ips[0].to_string(), "10.0.0.9");
    assert_eq!(inventory.deployments[0].groups[0].jobs[0].ports.len(), 1);
}

#[test]
fn many_problems_are_counted_rather_than_shown() {
    let ports = vec!["{}"; 40].join(", ");
    let text = format!("instance_groups: [{{name: g, jobs: [{{name: j, expose_ports: [{ports}]}}]}}]");
    let error = groups("a", Some(text), &Limits::default()).unwrap_err();
    assert!(error.ends_with("; and 70 more"), "{error}");
}

#[test]
fn a_deployment_that_vanishes_is_simply_gone() {
    let mut facts = known();
    facts.take("a", Reading { manifest: Err(status(404, 70_000)), ..good() }, at(5));
    assert_eq!(names(&facts.inventory()), ["b"]);
    let mut facts = known();
    facts.take("a", Reading { instances: Err(status(404, 70_000)), ..good() }, at(5));
    assert_eq!(names(&facts.inventory()), ["b"]);
    let mut facts = known();
    facts.take("a", Reading { manifest: Err(status(404, 0)), ..good() }, at(5));
    assert_eq!(names(&facts.inventory()), ["a", "b"], "a 404 of somebody else says nothing");
    assert!(facts.list(&rows(&["b"])));
    assert_eq!(names(&facts.inventory()), ["b"]);
}

#[test]
fn that_there_is_no_deployment_at_all_is_believed_when_said_twice() {
    let mut facts = known();
    assert!(!facts.list(&[]));
    assert_eq!(names(&facts.inventory()), ["a", "b"]);
    assert!(facts.list(&rows(&["a", "b"])));
    assert!(!facts.list(&[]), "twice means in a row");
    assert!(facts.list(&[]));
    assert_eq!(names(&facts.inventory()), [""; 0]);
    assert!(facts.list(&[]));
}

#[test]
fn no_instances_or_no_manifest_any_more_is_believed_when_said_twice() {
    let none = || Reading { instances: Ok(vec![]), ..good() };
    let null = || Reading { manifest: Ok(None), ..good() };
    let cases: [(MakeReading, IsWiped); 2] =
        [(none, |deployment| deployment.instances.is_empty()), (null, |deployment| deployment.groups.is_empty())];
    for (reading, is_wiped) in cases {
        let mut facts = known();
        facts.take("a", reading(), at(5));
        assert!(!is_wiped(&facts.inventory().deployments[0]));
        assert_eq!(facts.due(&News::default(), true, at(6)), ["a"], "is asked again in the next round");
        facts.take("a", reading(), at(6));
        assert!(is_wiped(&facts.inventory().deployments[0]));

        let mut facts = known();
        facts.take("a", reading(), at(5));
        facts.take("a", good(), at(6));
        facts.take("a", reading(), at(7));
        assert!(!is_wiped(&facts.inventory().deployments[0]), "twice means in a row");
    }
}

#[test]
fn it_is_complete_once_every_listed_deployment_was_read_or_refused() {
    let mut facts = Facts::new(settings());
    assert!(!facts.is_complete(), "nothing was listed");
    facts.list(&rows(&["a", "b"]));
    facts.take("a", good(), at(0));
    assert!(!facts.is_complete());
    facts.take("b", Reading { manifest: Ok(Some("[".into())), ..good() }, at(0));
    assert!(facts.is_complete());
    assert_eq!(names(&facts.inventory()), ["a"], "what never was read well is not known");
    facts.list(&rows(&["a", "b", "c"]));
    assert!(facts.is_complete(), "a later one does not take it back");

    let mut facts = Facts::new(settings());
    facts.list(&[]);
    assert!(!facts.is_complete(), "that there is nothing must be said twice");
    facts.list(&[]);
    assert!(facts.is_complete());
}

#[test]
fn an_unchanged_inventory_is_the_same_value() {
    let mut facts = known();
    let before = facts.inventory();
    facts.take("a", good(), at(5));
    assert!(Arc::ptr_eq(&before, &facts.inventory()));
}

/// The addresses of the instances of `a`, by id.
fn ips(facts: &mut Facts) -> Vec<(String, Vec<String>)> {
    let inventory = facts.inventory();
    let shown = |instance: &Instance| (instance.id.clone(), instance.ips.iter().map(ToString::to_string).collect());
    inventory.deployments[0].instances.iter().map(shown).collect()
}

fn read(rows: &str) -> Reading {
    Reading { instances: Ok(serde_json::from_str(rows).unwrap()), ..good() }
}

#[test]
fn a_value_that_cannot_be_read_costs_its_instance_the_news_and_others_nothing() {
    let two = r#"[{"job":"web","index":0,"id":"x","ips":["10.0.0.1"],"expects_vm":true},
                  {"job":"web","index":1,"id":"y","ips":["10.0.0.2"],"expects_vm":true}]"#;
    for (what, bad) in [
        ("an address", r#"{"job":"web","index":0,"id":"x","ips":["nowhere"],"expects_vm":true}"#),
        ("addresses", r#"{"job":"web","index":0,"id":"x","ips":7,"expects_vm":true}"#),
        ("a group", r#"{"job":null,"index":0,"id":"x","ips":["10.0.0.1"],"expects_vm":true}"#),
        ("an id", r#"{"job":"web","index":0,"id":5,"ips":["10.0.0.1"],"expects_vm":true}"#),
        ("a line", "7"),
    ] {
        let mut facts = known();
        facts.take("a", read(two), at(5));
        facts.take(
            "a",
            read(&format!(r#"[{bad},{{"job":"web","index":1,"id":"y","ips":["10.0.0.3"],"expects_vm":true}}]"#)),
            at(6),
        );
        let expected = [("x".to_owned(), vec!["10.0.0.1".to_owned()]), ("y".to_owned(), vec!["10.0.0.3".to_owned()])];
        assert_eq!(ips(&mut facts), expected, "{what}");
        assert_eq!(facts.inventory().deployments[0].problems.len(), 1, "{what}");
        assert_eq!(facts.statuses()[0].error, None, "{what}");
    }
}

#[test]
fn an_address_that_another_vm_cannot_tell_is_not_that_of_the_vm_before() {
    let mut facts = known();
    facts.take("a", read(r#"[{"job":"web","id":"x","agent_id":"one","ips":["10.0.0.1"],"expects_vm":true}]"#), at(5));
    facts.take("a", read(r#"[{"job":"web","id":"x","agent_id":"two","ips":["nowhere"],"expects_vm":true}]"#), at(6));
    assert_eq!(ips(&mut facts), [("x".to_owned(), vec![])]);
}

#[test]
fn an_instance_is_remembered_since_it_has_its_vm_and_addresses() {
    let mut facts = known();
    let since = |facts: &mut Facts| facts.inventory().deployments[0].instances[0].since - at(0).0;
    let row = |agent: &str, ip: &str| {
        read(&format!(r#"[{{"job":"web","index":0,"id":"x","agent_id":"{agent}","ips":["{ip}"],"expects_vm":true}}]"#))
    };
    for (second, agent, ip, expected) in [
        (10, "one", "10.0.0.1", 10),
        (20, "one", "10.0.0.1", 10),
        (30, "one", "10.0.0.2", 30),
        (40, "two", "10.0.0.2", 40),
    ] {
        facts.take("a", row(agent, ip), at(second));
        assert_eq!(since(&mut facts), expected);
    }
    let kept = facts.inventory();
    let mut next = Facts::resuming(settings(), kept);
    next.take("a", row("two", "10.0.0.2"), at(90));
    assert_eq!(since(&mut next), 40, "over a restart of the pilot, too");
}

#[test]
fn an_instance_that_is_renamed_while_a_deploy_runs_is_remembered_in_its_group() {
    let group = |job: &str, ids: &[&str]| {
        let row = |id: &&str| format!(r#"{{"job":"{job}","id":"{id}","ips":["10.0.0.1"],"expects_vm":true}}"#);
        ids.iter().map(row).collect::<Vec<_>>().join(",")
    };
    let rows = |all: &[String]| format!("[{}]", all.join(","));
    let formerly = |facts: &mut Facts| {
        let inventory = facts.inventory();
        let shown = |instance: &Instance| (instance.id.clone(), instance.formerly.clone());
        inventory.deployments[0].instances.iter().map(shown).collect::<Vec<_>>()
    };
    let web = |id: &str| (id.to_owned(), Some("web".to_owned()));
    let none = |id: &str| (id.to_owned(), None);

    let mut facts = known();
    facts.take("a", read(&rows(&[group("web", &["x", "y"])])), at(5));
    assert_eq!(formerly(&mut facts), [none("x"), none("y")]);
    facts.take("a", read(&rows(&[group("compilation-1", &["c"]), group("frontend", &["x", "y", "new"])])), at(6));
    assert_eq!(formerly(&mut facts), [none("c"), web("new"), web("x"), web("y")]);
    // A pilot that starts now has it from the one before.
    let mut facts = Facts::resuming(settings(), facts.inventory());
    facts.take("a", read(&rows(&[group("frontend", &["x", "y", "new"])])), at(7));
    assert_eq!(formerly(&mut facts), [web("new"), web("x"), web("y")]);
    let manifest = Ok(Some(MANIFEST.replace("name: web", "name: frontend")));
    facts.take("a", Reading { manifest, ..read(&rows(&[group("frontend", &["x", "y", "new"])])) }, at(8));
    assert_eq!(formerly(&mut facts), [none("new"), none("x"), none("y")]);
}
