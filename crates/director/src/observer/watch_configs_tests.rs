//! Tests what runtime and cloud configs add, and when that is seen.

use boshy_mesh::PolicyConfig;

use super::*;

fn at_once(_: &DirectorQuery) -> Duration {
    Duration::from_millis(50)
}

fn exposing(port: u16) -> String {
    format!(
        "addons: [{{name: metrics, jobs: [{{name: exporter, release: r, expose_ports: [{{name: m, number: {port}}}]}}]}}]"
    )
}

/// The ports that a deployment exposes, sorted.
fn ports(sim: &mut Sim, name: &str) -> Vec<u16> {
    let inventory = sim.observer.known().inventory;
    let deployment = inventory.deployments.iter().find(|deployment| deployment.name == name).unwrap();
    let jobs = deployment.groups.iter().flat_map(|group| &group.jobs);
    let mut ports: Vec<_> = jobs.flat_map(|job| &job.ports).map(|port| port.number).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn a_runtime_config_takes_effect_in_each_deployment_with_its_next_deploy() {
    let mut sim = Sim::settled(2, at_once);
    sim.director.configure("default", &exposing(9100), sim.now);
    let later = sim.now + seconds(400);
    sim.runs_until(later, |_| false);
    assert_eq!((ports(&mut sim, "d0000"), ports(&mut sim, "d0001")), (vec![1], vec![1]), "nothing was deployed");

    sim.director.deploy("d0000", 1, sim.now);
    let later = sim.now + seconds(10);
    let took = sim.runs_until(later, |sim| ports(sim, "d0000") == [1, 9100]).expect("it is seen");
    assert!(took <= seconds(2), "{took:?}");
    assert_eq!(ports(&mut sim, "d0001"), [1]);

    // A newer version changes nothing in a deployment with the older one, also for a pilot that starts now.
    sim.director.configure("default", &exposing(9200), sim.now);
    sim.director.deploy("d0001", 1, sim.now);
    let later = sim.now + seconds(400);
    sim.runs_until(later, |_| false);
    assert_eq!((ports(&mut sim, "d0000"), ports(&mut sim, "d0001")), (vec![1, 9100], vec![1, 9200]));
    let kept = sim.observer.known().inventory;
    for observer in [Observer::new(ObserverSettings::default()), Observer::resuming(ObserverSettings::default(), kept)]
    {
        (sim.observer, sim.now) = (observer, Duration::ZERO);
        sim.under_way.clear();
        sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
        assert_eq!((ports(&mut sim, "d0000"), ports(&mut sim, "d0001")), (vec![1, 9100], vec![1, 9200]));
    }
}

#[test]
fn ports_that_only_an_older_version_exposes_stay_over_a_restart_until_the_next_deploy() {
    let mut sim = Sim::with(1, at_once);
    sim.director.configure("default", &exposing(9100), sim.now);
    sim.director.deploy("d0000", 1, sim.now);
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
    sim.director.configure("default", "addons: []", sim.now);
    let kept = sim.observer.known().inventory;
    (sim.observer, sim.now) = (Observer::resuming(ObserverSettings::default(), kept), Duration::ZERO);
    sim.under_way.clear();
    sim.runs_until(seconds(400), |_| false);
    assert_eq!(ports(&mut sim, "d0000"), [1, 9100]);
    sim.director.deploy("d0000", 1, sim.now);
    let later = sim.now + seconds(10);
    sim.runs_until(later, |sim| ports(sim, "d0000") == [1]).expect("it is seen");
}

#[test]
fn ports_of_a_deleted_version_stay_over_a_restart_until_the_next_deploy() {
    let mut sim = Sim::with(1, at_once);
    sim.director.configure("kept", &exposing(9200).replace("exporter", "other"), sim.now);
    sim.director.configure("deleted", &exposing(9100), sim.now);
    sim.director.deploy("d0000", 1, sim.now);
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
    assert_eq!(ports(&mut sim, "d0000"), [1, 9100, 9200]);
    sim.director.runtime.retain(|config| config.name == "kept");
    let kept = sim.observer.known().inventory;
    (sim.observer, sim.now) = (Observer::resuming(ObserverSettings::default(), kept), Duration::ZERO);
    sim.under_way.clear();
    sim.runs_until(seconds(400), |_| false);
    assert_eq!(ports(&mut sim, "d0000"), [1, 9100, 9200]);
    sim.director.deploy("d0000", 1, sim.now);
    let later = sim.now + seconds(10);
    sim.runs_until(later, |sim| ports(sim, "d0000") == [1, 9200]).expect("it is seen");
}

#[test]
fn who_may_not_read_configs_loses_nothing_else_and_keeps_what_they_brought() {
    let mut sim = Sim::with(2, at_once);
    sim.director.may_read_configs = false;
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).expect("it is complete");
    let known = sim.observer.known();
    assert!(known.error.is_none() && known.config_error.is_some());
    assert_eq!(ports(&mut sim, "d0001"), [1]);

    sim.director.may_read_configs = true;
    sim.director.configure("default", &exposing(9100), sim.now);
    sim.director.deploy("d0000", 1, sim.now);
    let later = sim.now + seconds(300);
    sim.runs_until(later, |sim| ports(sim, "d0000") == [1, 9100]).expect("it is seen");
    assert!(sim.observer.known().config_error.is_none());

    let kept = sim.observer.known().inventory;
    sim.director.may_read_configs = false;
    (sim.observer, sim.now) = (Observer::resuming(ObserverSettings::default(), kept), Duration::ZERO);
    sim.under_way.clear();
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).expect("it is complete");
    assert_eq!((ports(&mut sim, "d0000"), ports(&mut sim, "d0001")), (vec![1, 9100], vec![1]));
}

#[test]
fn a_director_that_keeps_silent_about_configs_holds_up_nothing_else() {
    fn never_configs(query: &DirectorQuery) -> Duration {
        if *query == DirectorQuery::Configs { TIMEOUT * 2 } else { at_once(query) }
    }
    let mut sim = Sim::with(2, never_configs);
    sim.director.configure("default", &exposing(9100), sim.now);
    sim.director.deploy("d0000", 1, sim.now);
    let took = sim.runs_until(seconds(60), |sim| sim.observer.known().complete).expect("it is complete");
    assert!(took <= seconds(10), "{took:?}");
    assert_eq!(ports(&mut sim, "d0000"), [1]);
    sim.director.takes = at_once;
    let later = sim.now + seconds(120);
    sim.runs_until(later, |sim| ports(sim, "d0000") == [1, 9100]).expect("they are read when it answers");
}

#[test]
fn configs_are_read_once_in_a_pass_and_after_an_event_and_deployments_are_not_asked_for_them_without_need() {
    let mut sim = Sim::settled(3, at_once);
    sim.director.configure("default", "addons: [{name: a, jobs: [{name: j, release: r}]}]", sim.now);
    let later = sim.now + seconds(2);
    sim.runs_until(later, |sim| sim.asked.contains_key("configs")).expect("an event tells");
    sim.asked.clear();
    let mut with_configs = false;
    let later = sim.now + seconds(600);
    sim.runs_until(later, |sim| {
        with_configs |=
            sim.under_way.iter().any(|(_, query)| matches!(query, DirectorQuery::DeploymentWithConfigs(..)));
        false
    });
    assert!(sim.asked["configs"] <= 2, "{:?}", sim.asked);
    assert!(!with_configs);
}

#[test]
fn without_events_a_config_is_seen_within_the_shorter_period() {
    let mut sim = Sim::with(1, at_once);
    sim.director.records_events = false;
    sim.director.events.clear();
    sim.runs_until(seconds(300), |_| false);
    sim.director.configure("default", &exposing(9100), sim.now);
    sim.director.deploy("d0000", 1, sim.now);
    let later = sim.now + seconds(90);
    let took = sim.runs_until(later, |sim| ports(sim, "d0000") == [1, 9100]).expect("it is seen");
    assert!(took <= seconds(70), "{took:?}");
}

#[test]
fn what_is_wrong_in_a_config_is_told_and_costs_no_deployment_anything() {
    let mut sim = Sim::with(1, at_once);
    sim.director.configure("default", &exposing(0), sim.now);
    sim.director.configure("other", "addons: [{name: a, jobs: [{name: j, properties: {expose_ports: []}}]}]", sim.now);
    sim.director.cloud = "networks: [{name: default, type: manual, subnets: [{range: 10.0.0.0/24}]}]".to_owned();
    sim.director.deploy("d0000", 1, sim.now);
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
    assert_eq!(ports(&mut sim, "d0000"), [1]);
    let inventory = sim.observer.known().inventory;
    let problems: Vec<_> = inventory.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0]
            .starts_with(r#"runtime config "default", addon "metrics", job "exporter", expose_ports[0].number:"#)
    );
    assert!(
        problems[1]
            .starts_with(r#"runtime config "other", addon "a", job "j", properties.expose_ports: has no effect"#)
    );
    assert_eq!(inventory.networks[0].ranges, ["10.0.0.0/24".parse().unwrap()]);
}

/// A config with one policy of this name.
fn allowing(policy: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {policy}, namespace: d0000}}\nspec: {{}}\n"
    )
}

/// Of each config that is written for the mesh: its name, its latest version, the version that applies with the name of
/// its policy, and the number of problems.
fn of_mesh(sim: &mut Sim) -> Vec<String> {
    let told = |config: &PolicyConfig| {
        let applied = config.applied.as_ref().map_or("none".to_owned(), |applied| {
            let policies: Vec<_> = applied.documents.authorizations.iter().map(|one| one.name.name.clone()).collect();
            format!("{} ({})", applied.version, policies.join(" "))
        });
        format!("{} {}: {applied}, {} problems", config.name, config.latest, config.problems.len())
    };
    sim.observer.known().inventory.policies.iter().map(told).collect()
}

#[test]
fn configs_for_the_mesh_are_known_at_once_by_their_event_and_gone_within_a_pass() {
    let mut sim = Sim::settled(1, at_once);
    assert_eq!(of_mesh(&mut sim), [""; 0]);
    for (policy, told) in [("a", "net 1: 1 (a), 0 problems"), ("b", "net 2: 2 (b), 0 problems")] {
        sim.director.configure_mesh("net", &allowing(policy), sim.now);
        let later = sim.now + seconds(3);
        sim.runs_until(later, |sim| of_mesh(sim) == [told]).expect("it is seen");
    }
    // A deletion causes no event.
    sim.director.mesh.clear();
    let later = sim.now + seconds(310);
    sim.runs_until(later, |sim| of_mesh(sim).is_empty()).expect("the next pass sees it");
}

#[test]
fn configs_for_the_mesh_stay_over_a_restart_while_they_cannot_be_read() {
    let mut sim = Sim::with(1, at_once);
    sim.director.configure_mesh("net", &allowing("a"), sim.now);
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
    restart(&mut sim, |director, now| {
        director.may_read_configs = false;
        director.configure_mesh("net", &allowing("b"), now);
    });
    assert_eq!(of_mesh(&mut sim), ["net 1: 1 (a), 0 problems"]);
    assert!(sim.observer.known().config_error.is_some());
    sim.director.may_read_configs = true;
    let later = sim.now + seconds(320);
    sim.runs_until(later, |sim| of_mesh(sim) == ["net 2: 2 (b), 0 problems"]).expect("it is read when it may be");
}

#[test]
fn the_last_right_version_of_a_config_applies_while_the_latest_is_wrong_also_over_a_restart() {
    let mut sim = Sim::with(1, at_once);
    sim.director.configure_mesh("net", &allowing("a"), sim.now);
    sim.director.configure_mesh("new", "kind: Nothing", sim.now);
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
    assert_eq!(of_mesh(&mut sim), ["net 1: 1 (a), 0 problems", "new 1: none, 1 problems"]);
    sim.director.configure_mesh("net", &(allowing("b") + "more: 1\n"), sim.now);
    let later = sim.now + seconds(3);
    let wrong = ["new 1: none, 1 problems", "net 2: 1 (a), 1 problems"];
    sim.runs_until(later, |sim| of_mesh(sim) == wrong).expect("it is seen");
    let problem = sim.observer.known().inventory.policies[1].problems[0].to_string();
    assert!(problem.starts_with(r#"boshy config "net", line 5, column 1: unknown field `more`"#), "{problem}");
    restart(&mut sim, |_, _| {});
    assert_eq!(of_mesh(&mut sim), wrong);
    sim.director.configure_mesh("net", &allowing("c"), sim.now);
    let later = sim.now + seconds(3);
    let right = ["new 1: none, 1 problems", "net 3: 3 (c), 0 problems"];
    sim.runs_until(later, |sim| of_mesh(sim) == right).expect("it is seen");
}

#[test]
fn a_version_of_a_config_is_checked_once_by_each_process() {
    let mut sim = Sim::with(1, at_once);
    sim.director.configure_mesh("net", &allowing("a"), sim.now);
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
    // No director changes a version. This one shows when its text is read.
    sim.director.mesh[0].content = allowing("b");
    sim.director.configure_mesh("other", &allowing("c"), sim.now);
    let later = sim.now + seconds(3);
    let told = ["net 1: 1 (a), 0 problems", "other 1: 1 (c), 0 problems"];
    sim.runs_until(later, |sim| of_mesh(sim) == told).expect("the other one is seen");
    restart(&mut sim, |_, _| {});
    assert_eq!(of_mesh(&mut sim)[0], "net 1: 1 (b), 0 problems");
}

#[test]
fn a_config_of_a_team_does_not_apply_because_it_may_name_the_deployments_of_others() {
    let mut sim = Sim::with(1, at_once);
    sim.director.configure_mesh("net", &allowing("a"), sim.now);
    sim.director.mesh[0].team = Some("blue".to_owned());
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).unwrap();
    assert_eq!(of_mesh(&mut sim), ["net 1: none, 1 problems"]);
    let problem = sim.observer.known().inventory.policies[0].problems[0].to_string();
    assert!(problem.starts_with(r#"boshy config "net": belongs to the team "blue": only"#), "{problem}");
}

/// Begins a new life with the facts of this one, after a change of the director, and waits until all is read.
fn restart(sim: &mut Sim, change: impl FnOnce(&mut Fake, Duration)) {
    let kept = sim.observer.known().inventory;
    change(&mut sim.director, sim.now);
    (sim.observer, sim.now) = (Observer::resuming(ObserverSettings::default(), kept), Duration::ZERO);
    sim.under_way.clear();
    sim.runs_until(seconds(60), |sim| sim.observer.known().complete).expect("nothing else waits for the configs");
}
