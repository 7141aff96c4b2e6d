use boshy_mesh::{Instance, Timestamp};

use super::*;
use crate::{
    client::{Cause, ClientError, Operation, TransportError},
    manifest::Surroundings,
    observer::known::groups,
    wire::{ErrorBody, InstanceRow},
};

#[path = "remembering_tests.rs"]
mod remembering;

const MANIFEST: &str = "
instance_groups:
- name: web
  jobs:
  - name: app
    expose_ports:
    - {name: http, number: 8080}
- name: db
  jobs:
  - name: store
    expose_ports:
    - {name: sql, number: 5432}
";

const CONFIRM: Duration = Duration::from_secs(3);

fn rows(names: &[&str]) -> Vec<DeploymentRow> {
    names.iter().map(|name| DeploymentRow { name: (*name).to_owned(), ..DeploymentRow::default() }).collect()
}

fn instance(group: &str, index: u32, ip: &str) -> InstanceRow {
    InstanceRow {
        job: group.into(),
        index: Some(index),
        id: format!("uuid-{index}-{group}"),
        ips: vec![ip.into()],
        expects_vm: true,
        ..InstanceRow::default()
    }
}

fn all_instances() -> Vec<InstanceRow> {
    vec![instance("web", 0, "10.0.0.1"), instance("web", 1, "10.0.0.2"), instance("db", 0, "10.0.0.3")]
}

fn good() -> Reading {
    Reading { manifest: Ok(Some(MANIFEST.into())), instances: Ok(all_instances()), configs: None, links: None }
}

fn with_manifest(text: &str) -> Reading {
    Reading { manifest: Ok(Some(text.into())), ..good() }
}

fn with_instances(rows: Vec<InstanceRow>) -> Reading {
    Reading { instances: Ok(rows), ..good() }
}

fn error(cause: Cause) -> ClientError {
    ClientError { operation: Operation::Manifest("a".into()), cause }
}

fn status(status: u16, code: u32) -> ClientError {
    error(Cause::Status { status, error: Some(ErrorBody { code, description: "d".into() }) })
}

fn gone() -> Reading {
    Reading { manifest: Err(status(404, 70_000)), ..good() }
}

fn at(seconds: u64) -> ClockReading {
    ClockReading { elapsed: Duration::from_secs(seconds), wall: Timestamp(1_000_000 + seconds) }
}

fn list(facts: &mut Facts, names: &[&str], second: u64) -> Listed {
    facts.list(&rows(names), at(second).elapsed)
}

/// Facts about `a` and `b`, both read successfully at the start.
fn known() -> Facts {
    let mut facts = Facts::new(Limits::default(), CONFIRM);
    assert!(!list(&mut facts, &["a", "b"], 0).doubtful);
    for name in ["a", "b"] {
        assert_eq!(facts.take(name, good(), at(0)).unwrap().outcome, Outcome::Good);
    }
    facts
}

fn names(inventory: &Inventory) -> Vec<&str> {
    inventory.deployments.iter().map(|deployment| deployment.name.as_str()).collect()
}

/// Endpoints of `a`, as `group/index`, and number of its ports.
fn of_a(facts: &mut Facts) -> (Vec<String>, usize) {
    let inventory = facts.inventory();
    let Some(a) = inventory.deployments.iter().find(|deployment| deployment.name == "a") else { return (vec![], 0) };
    let reachable = a.instances.iter().filter(|instance| instance.expects_vm && !instance.ips.is_empty());
    let instances = reachable.map(|instance| instance.title()).collect();
    (instances, a.groups.iter().flat_map(|group| &group.jobs).map(|job| job.ports.len()).sum())
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
        (with_manifest("instance_groups: 1"), r#"deployment "a", manifest: YAML line 1, column 18: "#),
        (
            with_manifest(&MANIFEST.replace("8080", "((port))")),
            r#"deployment "a", instance group "web", job "app", expose_ports[0].number: must not hold a ((variable))"#,
        ),
    ] {
        let mut facts = known();
        assert_eq!(facts.take("a", reading, at(5)).unwrap().outcome, Outcome::Wanting);
        assert_eq!(facts.inventory(), before, "{reason}");
        let status = &facts.statuses()[0];
        assert_eq!((status.name.as_str(), status.last_good), ("a", Some(at(0).wall)));
        let error = status.error.as_deref().unwrap();
        assert!(error.starts_with(reason), "{error}");
        assert_eq!(facts.statuses()[1].error, None, "the other is not touched");
        facts.take("a", good(), at(6));
        assert_eq!((facts.statuses()[0].last_good, &facts.statuses()[0].error), (Some(at(6).wall), &None));
    }
}

#[test]
fn instances_stay_fresh_while_the_manifest_is_bad() {
    let mut facts = known();
    let reading = Reading {
        manifest: Ok(Some("[".into())),
        instances: Ok(vec![instance("web", 0, "10.0.0.9")]),
        configs: None,
        links: None,
    };
    facts.take("a", reading, at(5));
    let inventory = facts.inventory();
    assert!(inventory.deployments[0].instances.iter().any(|instance| instance.ips[0].to_string() == "10.0.0.9"));
    assert_eq!(inventory.deployments[0].groups[0].jobs[0].ports.len(), 1);
}

#[test]
fn many_problems_are_counted_rather_than_shown() {
    let ports = vec!["{}"; 40].join(", ");
    let text = format!("instance_groups: [{{name: g, jobs: [{{name: j, expose_ports: [{ports}]}}]}}]");
    let error = groups("a", Some(text), &Limits::default(), Surroundings::default()).unwrap_err();
    assert!(error.ends_with("; and 70 more"), "{error}");
}

#[test]
fn what_only_an_error_would_say_is_believed_when_a_second_answer_says_the_same_a_little_later() {
    let detached = || {
        let detach = |row: InstanceRow| InstanceRow { ips: vec![], expects_vm: false, ..row };
        all_instances().into_iter().map(detach).collect::<Vec<_>>()
    };
    let without_vms = || all_instances().into_iter().map(|row| InstanceRow { expects_vm: false, ..row }).collect();
    let without_addresses = || all_instances().into_iter().map(|row| InstanceRow { ips: vec![], ..row }).collect();
    let without_db = || all_instances().into_iter().filter(|row| row.job != "db").collect();
    type Case = (&'static str, Box<dyn Fn() -> Reading>, (usize, usize));
    let cases: [Case; 10] = [
        ("no manifest any more", Box::new(|| Reading { manifest: Ok(None), ..good() }), (3, 0)),
        ("an empty manifest", Box::new(|| with_manifest("")), (3, 0)),
        ("an empty hash", Box::new(|| with_manifest("{}")), (3, 0)),
        ("a manifest without groups", Box::new(|| with_manifest("name: a\ninstance_groups: []")), (3, 0)),
        ("no instances", Box::new(|| with_instances(vec![])), (0, 2)),
        ("only detached ones", Box::new(move || with_instances(detached())), (0, 2)),
        ("none that expects a VM", Box::new(move || with_instances(without_vms())), (0, 2)),
        ("none with an address", Box::new(move || with_instances(without_addresses())), (0, 2)),
        ("none of one group", Box::new(move || with_instances(without_db())), (2, 2)),
        ("a 404 though it is listed", Box::new(gone), (0, 0)),
    ];
    for (what, reading, after) in cases {
        let sizes = |facts: &mut Facts| {
            let (instances, ports) = of_a(facts);
            (instances.len(), ports)
        };
        let mut facts = known();
        let taken = facts.take("a", reading(), at(5)).unwrap();
        assert_eq!((taken.outcome, taken.changed), (Outcome::Doubtful, false), "{what}");
        assert!(facts.statuses()[0].error.is_some(), "{what}: it is said");
        assert_eq!(sizes(&mut facts), (3, 2), "{what}");
        assert_eq!(facts.take("a", reading(), at(7)).unwrap().outcome, Outcome::Doubtful, "{what}: too soon");
        assert!(facts.take("a", reading(), at(8)).unwrap().changed, "{what}");
        assert_eq!(sizes(&mut facts), after, "{what}");
        facts.take("a", good(), at(20));
        assert_eq!(sizes(&mut facts), (3, 2), "{what}: and it can come back");

        let mut facts = known();
        facts.take("a", reading(), at(5));
        facts.take("a", good(), at(6));
        assert_eq!(facts.take("a", reading(), at(9)).unwrap().outcome, Outcome::Doubtful, "{what}: twice in a row");
        assert_eq!(sizes(&mut facts), (3, 2), "{what}");
    }
}

#[test]
fn ordinary_changes_are_believed_at_once() {
    let scaled_down = || with_instances(vec![instance("web", 1, "10.0.0.2"), instance("db", 0, "10.0.0.3")]);
    let renamed = || {
        let row = InstanceRow { id: "uuid-0-db".into(), ..instance("database", 0, "10.0.0.3") };
        Reading {
            manifest: Ok(Some(MANIFEST.into())),
            instances: Ok([&all_instances()[..2], &[row]].concat()),
            configs: None,
            links: None,
        }
    };
    let without_ports = || with_manifest("instance_groups: [{name: web, jobs: []}, {name: db, jobs: []}]");
    let without_db = || {
        let (text, _) = MANIFEST.split_once("- name: db").unwrap();
        Reading {
            manifest: Ok(Some(text.to_owned())),
            instances: Ok(all_instances()[..2].to_vec()),
            configs: None,
            links: None,
        }
    };
    for (what, reading, instances, ports) in [
        ("fewer instances", scaled_down(), 2, 2),
        ("instances in a group of another name", renamed(), 3, 2),
        ("no ports any more", without_ports(), 3, 0),
        ("a group less", without_db(), 2, 1),
    ] {
        let mut facts = known();
        let taken = facts.take("a", reading, at(5)).unwrap();
        assert_eq!((taken.outcome, taken.changed), (Outcome::Good, true), "{what}");
        let (shown, exposed) = of_a(&mut facts);
        assert_eq!((shown.len(), exposed), (instances, ports), "{what}");
    }
}

#[test]
fn a_group_in_doubt_holds_up_no_other() {
    let mut facts = known();
    let moved = vec![instance("web", 0, "10.0.0.9")];
    assert_eq!(facts.take("a", with_instances(moved), at(5)).unwrap().outcome, Outcome::Doubtful);
    assert_eq!(of_a(&mut facts).0, ["db/0", "web/0"]);
}

#[test]
fn a_deployment_that_leaves_the_list_is_gone_when_a_second_answer_says_so() {
    let mut facts = known();
    let listed = list(&mut facts, &["b"], 5);
    assert!(listed.doubtful && listed.missing.contains("a"));
    assert_eq!(names(&facts.inventory()), ["a", "b"]);
    list(&mut facts, &["b"], 7);
    assert_eq!(names(&facts.inventory()), ["a", "b"], "too soon");
    let listed = list(&mut facts, &["b"], 8);
    assert!(listed.changed.contains("a") && !listed.doubtful);
    assert_eq!(names(&facts.inventory()), ["b"]);

    let mut facts = known();
    list(&mut facts, &["b"], 5);
    list(&mut facts, &["a", "b"], 6);
    list(&mut facts, &["b"], 9);
    assert_eq!(names(&facts.inventory()), ["a", "b"], "twice in a row");
}

#[test]
fn a_deleted_deployment_is_gone_as_soon_as_reading_and_list_agree() {
    let mut facts = known();
    assert!(facts.take("a", gone(), at(5)).unwrap().denied);
    list(&mut facts, &["b"], 5);
    assert_eq!(names(&facts.inventory()), ["b"]);

    let mut facts = known();
    list(&mut facts, &["b"], 5);
    assert!(facts.take("a", gone(), at(5)).unwrap().denied);
    assert_eq!(names(&facts.inventory()), ["b"]);

    let mut facts = known();
    facts.take("a", Reading { manifest: Err(status(404, 0)), ..good() }, at(5));
    list(&mut facts, &["b"], 5);
    assert_eq!(names(&facts.inventory()), ["a", "b"], "a 404 of somebody else says nothing");
}

#[test]
fn that_there_is_no_deployment_at_all_is_believed_when_said_twice() {
    let mut facts = known();
    assert!(list(&mut facts, &[], 5).doubtful);
    assert_eq!(names(&facts.inventory()), ["a", "b"]);
    list(&mut facts, &["a", "b"], 6);
    assert!(list(&mut facts, &[], 9).doubtful, "twice means in a row");
    assert!(!list(&mut facts, &[], 12).doubtful);
    assert_eq!(names(&facts.inventory()), [""; 0]);
}

#[test]
fn it_is_complete_once_every_listed_deployment_was_read_or_refused() {
    let mut facts = Facts::new(Limits::default(), CONFIRM);
    assert!(!facts.is_complete(), "nothing was listed");
    list(&mut facts, &["a", "b"], 0);
    facts.take("a", good(), at(0));
    assert!(!facts.is_complete());
    facts.take("b", Reading { manifest: Ok(Some("[".into())), ..good() }, at(0));
    assert!(facts.is_complete());
    assert_eq!(names(&facts.inventory()), ["a"], "what never was read well is not known");
    list(&mut facts, &["a", "b", "c"], 0);
    assert!(facts.is_complete(), "a later one does not take it back");

    let mut facts = Facts::new(Limits::default(), CONFIRM);
    assert!(list(&mut facts, &[], 0).doubtful);
    assert!(!facts.is_complete(), "that there is nothing must be said twice");
    list(&mut facts, &[], 3);
    assert!(facts.is_complete());
}

#[test]
fn an_unchanged_inventory_is_the_same_value() {
    let mut facts = known();
    let before = facts.inventory();
    facts.take("a", good(), at(5));
    assert!(Arc::ptr_eq(&before, &facts.inventory()));
}

#[test]
fn facts_of_an_earlier_life_are_gone_when_two_lists_lack_them() {
    let kept = known().inventory();
    let mut facts = Facts::resuming(Limits::default(), CONFIRM, kept);
    assert!(list(&mut facts, &["b"], 0).doubtful);
    facts.take("b", good(), at(0));
    assert!(!facts.is_complete());
    list(&mut facts, &["b"], 3);
    assert!(facts.is_complete());
    assert_eq!(names(&facts.inventory()), ["b"]);
}
