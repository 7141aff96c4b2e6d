//! Tests which facts about instances are remembered.

use super::*;

/// The addresses of the instances of `a`, by id.
fn ips(facts: &mut Facts) -> Vec<(String, Vec<String>)> {
    let inventory = facts.inventory();
    let shown = |instance: &Instance| (instance.id.clone(), instance.ips.iter().map(ToString::to_string).collect());
    inventory.deployments[0].instances.iter().map(shown).collect()
}

/// A reading of a deployment with the single group `web`.
fn read(rows: &str) -> Reading {
    Reading {
        manifest: Ok(Some(web_alone())),
        instances: Ok(serde_json::from_str(rows).unwrap()),
        configs: None,
        links: None,
    }
}

fn web_alone() -> String {
    MANIFEST.split_once("- name: db").unwrap().0.to_owned()
}

/// The facts of an earlier life, with everything but `a` read.
fn resuming(kept: Arc<Inventory>) -> Facts {
    let mut facts = Facts::resuming(Limits::default(), CONFIRM, kept);
    list(&mut facts, &["a", "b"], 0);
    facts.take("b", good(), at(0));
    facts
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
    for second in [6, 9] {
        let row = r#"[{"job":"web","id":"x","agent_id":"two","ips":["nowhere"],"expects_vm":true}]"#;
        facts.take("a", read(row), at(second));
    }
    assert_eq!(ips(&mut facts), [("x".to_owned(), vec![])]);
}

#[test]
fn an_instance_is_remembered_since_it_has_its_vm_and_addresses() {
    let mut facts = known();
    let since = |facts: &mut Facts| facts.inventory().deployments[0].instances[0].since - at(0).wall.0;
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
    let mut next = resuming(kept);
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
    // A pilot that starts now takes over the facts of the previous one.
    let mut facts = resuming(facts.inventory());
    facts.take("a", read(&rows(&[group("frontend", &["x", "y", "new"])])), at(7));
    assert_eq!(formerly(&mut facts), [web("new"), web("x"), web("y")]);
    let manifest = Ok(Some(web_alone().replace("name: web", "name: frontend")));
    facts.take("a", Reading { manifest, ..read(&rows(&[group("frontend", &["x", "y", "new"])])) }, at(8));
    assert_eq!(formerly(&mut facts), [none("new"), none("x"), none("y")]);
}
