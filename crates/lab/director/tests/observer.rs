//! Tests the observer with the embedded director: the facts it learns, and the requests it makes.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod common;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use boshy_director::{
    client::DirectorClient,
    observer::{self, ClockReading, Observation, Observer, ObserverSettings},
};
use boshy_lab_director::{Account, Authentication, EmbeddedSettings, Fault, Handle};
use boshy_mesh::Timestamp;
use common::{chain, client, director, director_with, manifest, on_actix, since, wall_clock};

/// An observer with its director, client and clock.
struct Scene {
    director: Handle,
    client: DirectorClient,
    observer: Observer,
    now: u64,
}

impl Scene {
    fn new(director: Handle) -> Self {
        // The pass is so slow that only a test that waits for it sees it.
        let settings = ObserverSettings { full_pass: Duration::from_secs(6_000), ..ObserverSettings::default() };
        Self { client: client(&director), director, observer: Observer::new(settings), now: 0 }
    }

    /// A director with the deployments `a` and `b`, observed once.
    async fn begun() -> Self {
        let director = director();
        for name in ["a", "b"] {
            director.deploy(&manifest(name, 2, 8080)).unwrap();
        }
        let mut scene = Self::new(director);
        assert!(scene.round().await.complete);
        scene
    }

    /// A round ten seconds later.
    async fn round(&mut self) -> Observation {
        self.now += 10;
        self.asks().await
    }

    /// Asks all queries until none is due.
    async fn asks(&mut self) -> Observation {
        loop {
            let moment = ClockReading { elapsed: Duration::from_secs(self.now), wall: Timestamp(1_000_000 + self.now) };
            let due = self.observer.due(moment);
            if due.is_empty() {
                return self.observer.known();
            }
            let answers = due.into_iter().map(|query| observer::ask(&self.client, query));
            for answer in futures::future::join_all(answers).await {
                self.observer.take(answer, moment);
            }
        }
    }

    /// A round, and the requests that it made.
    async fn costed(&mut self) -> (Observation, Vec<String>) {
        let before = self.director.requests();
        let observation = self.round().await;
        (observation, since(&self.director, &before))
    }
}

/// Requests of ten seconds: the observer's own tests cover the request in each second.
const STEADY: [&str; 4] = ["1 GET /deployments", "1 GET /events", "1 GET /locks", "1 GET /tasks"];

fn facts(observation: &Observation) -> BTreeMap<String, (Vec<u16>, usize)> {
    let line = |deployment: &boshy_mesh::Deployment| {
        let ports = deployment.groups.iter().flat_map(|group| &group.jobs).flat_map(|job| &job.ports);
        (deployment.name.clone(), (ports.map(|port| port.number).collect(), deployment.instances.len()))
    };
    observation.inventory.deployments.iter().map(line).collect()
}

fn expect(pairs: &[(&str, u16, usize)]) -> BTreeMap<String, (Vec<u16>, usize)> {
    pairs.iter().map(|(name, port, count)| ((*name).to_owned(), (vec![*port], *count))).collect()
}

fn error<'a>(observation: &'a Observation, name: &str) -> Option<&'a str> {
    observation.deployments.iter().find(|status| status.name == name).unwrap().error.as_deref()
}

#[test]
fn the_first_round_reads_everything_and_the_next_ones_almost_nothing() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        let first = scene.round().await;
        assert_eq!(facts(&first), expect(&[("a", 8080, 2), ("b", 8080, 2)]));
        for _ in 0..20 {
            let (observation, requests) = scene.costed().await;
            assert_eq!(requests, STEADY);
            assert!(Arc::ptr_eq(&observation.inventory, &first.inventory));
        }
        assert!(!scene.director.requests().keys().any(|route| route.contains("/tasks/")), "no task was ever needed");
    });
}

#[test]
fn a_deploy_is_seen_in_the_next_round_and_costs_its_own_reading_only() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.deploy(&manifest("a", 3, 9090)).unwrap();
        let (observation, requests) = scene.costed().await;
        assert_eq!(facts(&observation), expect(&[("a", 9090, 3), ("b", 8080, 2)]));
        let reading = ["1 GET /deployments/:name", "1 GET /deployments/:name/instances"];
        assert_eq!(requests, [STEADY[0], reading[0], reading[1], STEADY[1], STEADY[2], "2 GET /tasks"]);
        assert_eq!(scene.costed().await.1, STEADY);
    });
}

#[test]
fn a_config_for_the_mesh_is_seen_in_the_next_round_and_costs_one_reading_of_the_configs() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.configure("boshy", "net", "documents: [] # as written").unwrap();
        let (observation, requests) = scene.costed().await;
        let [config] = &observation.inventory.policies[..] else { panic!("{:?}", observation.inventory.policies) };
        assert_eq!((&*config.name, config.applied.is_some()), ("net", true));
        assert_eq!(requests, ["3 GET /configs", STEADY[0], STEADY[1], STEADY[2], STEADY[3]]);
        assert_eq!(scene.costed().await.1, STEADY);
    });
}

#[test]
fn a_new_port_alone_is_seen_though_no_instance_changes() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.deploy(&manifest("a", 2, 9999)).unwrap();
        assert_eq!(facts(&scene.round().await), expect(&[("a", 9999, 2), ("b", 8080, 2)]));
    });
}

#[test]
fn a_deploy_under_way_shows_its_instances_first_and_its_manifest_at_the_end() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        let now = wall_clock();
        let task = scene.director.update(|world, user| world.begin_deploy(&manifest("a", 4, 9090), user, now)).unwrap();
        assert_eq!(facts(&scene.round().await), expect(&[("a", 8080, 4), ("b", 8080, 2)]));
        scene.director.update(|world, _| world.finish_deploy(task, now));
        assert_eq!(facts(&scene.round().await), expect(&[("a", 9090, 4), ("b", 8080, 2)]));
    });
}

#[test]
fn deployments_come_and_go() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.deploy(&manifest("c", 1, 70)).unwrap();
        assert_eq!(facts(&scene.round().await), expect(&[("a", 8080, 2), ("b", 8080, 2), ("c", 70, 1)]));
        scene.director.delete("a").unwrap();
        let observation = scene.round().await;
        assert_eq!(facts(&observation), expect(&[("b", 8080, 2), ("c", 70, 1)]));
        assert_eq!(observation.deployments.len(), 2);
    });
}

#[test]
fn a_404_of_one_that_is_listed_is_believed_when_it_is_said_twice() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.deploy(&manifest("a", 3, 1)).unwrap();
        scene.director.inject_on("GET /deployments/a", Fault::Gone, Some(1));
        let observation = scene.round().await;
        assert_eq!(facts(&observation), expect(&[("a", 8080, 2), ("b", 8080, 2)]));
        assert!(error(&observation, "a").unwrap().contains("404"));
        assert_eq!(facts(&scene.round().await), expect(&[("a", 1, 3), ("b", 8080, 2)]));
        scene.director.deploy(&manifest("a", 3, 2)).unwrap();
        scene.director.inject_on("GET /deployments/a", Fault::Gone, Some(2));
        assert_eq!(facts(&scene.round().await), expect(&[("a", 1, 3), ("b", 8080, 2)]));
        assert_eq!(facts(&scene.round().await), expect(&[("b", 8080, 2)]));
        assert_eq!(facts(&scene.round().await), expect(&[("a", 2, 3), ("b", 8080, 2)]));
    });
}

#[test]
fn a_half_empty_manifest_is_believed_when_it_is_said_twice() {
    for body in [r#"{"manifest":""}"#, "{}", r#"{"manifest":"{}"}"#, r#"{"manifest":"name: a\ninstance_groups: []"}"#] {
        on_actix(async {
            let mut scene = Scene::begun().await;
            scene.director.deploy(&manifest("a", 3, 9090)).unwrap();
            scene.director.inject_on("GET /deployments/a", Fault::Body(body.to_owned()), Some(1));
            assert_eq!(facts(&scene.round().await)["a"], (vec![8080], 3), "{body}");
            assert_eq!(facts(&scene.round().await)["a"], (vec![9090], 3), "{body}");
        });
    }
}

#[test]
fn a_client_that_sees_less_is_not_believed_and_the_right_is_named() {
    for uaa in [false, true] {
        on_actix(async {
            let clients = vec![Account::reader("mesh", "pw")];
            let token_lifetime = Duration::from_secs(120);
            let authentication =
                if uaa { Authentication::Uaa { clients, token_lifetime } } else { Authentication::Basic(clients) };
            let director = director_with(EmbeddedSettings { authentication, ..EmbeddedSettings::default() }, true);
            for name in ["a", "b"] {
                director.deploy(&manifest(name, 2, 8080)).unwrap();
            }
            director.give("a", "apps");
            let mut scene = Scene::new(director);
            assert!(scene.round().await.complete);
            for scopes in
                [&["bosh.teams.apps.admin"][..], &["bosh.teams.nobody.admin"], &["bosh.teams.apps.read"], &["openid"]]
            {
                scene.director.grant("mesh", scopes);
                scene.director.revoke_tokens();
                for _ in 0..3 {
                    let observation = scene.round().await;
                    assert_eq!(facts(&observation), expect(&[("a", 8080, 2), ("b", 8080, 2)]), "{scopes:?}");
                    let error = observation.error.expect("an error");
                    assert!(error.lacks_right(), "{error:?}");
                    assert!(chain(error.as_ref()).concat().contains("bosh.read"), "{error:?}");
                    scene.now += 100;
                }
                let known = std::mem::replace(&mut scene.observer, Observer::new(ObserverSettings::default()));
                for _ in 0..3 {
                    let observation = scene.round().await;
                    assert!(!observation.complete && observation.error.unwrap().lacks_right(), "{scopes:?}");
                    scene.now += 100;
                }
                scene.observer = known;
            }
            scene.director.grant("mesh", &["bosh.read"]);
            scene.director.revoke_tokens();
            scene.now += 100;
            assert!(scene.round().await.error.is_none());
        });
    }
}

#[test]
fn a_client_of_a_team_is_not_believed_about_configs_either() {
    on_actix(async {
        let authentication = Authentication::Basic(vec![Account::reader("mesh", "pw")]);
        let director = director_with(EmbeddedSettings { authentication, ..EmbeddedSettings::default() }, true);
        director.configure("boshy", "net", "documents: []").unwrap();
        director.deploy(&manifest("a", 2, 8080)).unwrap();
        let mut scene = Scene::new(director);
        let before = scene.round().await;
        assert_eq!(before.inventory.policies.len(), 1);
        scene.director.grant("mesh", &["bosh.teams.apps.read"]);
        let settings = ObserverSettings::default();
        scene.observer = Observer::resuming(settings, before.inventory.clone());
        let after = scene.round().await;
        assert_eq!(after.inventory.policies, before.inventory.policies, "the director shows it none");
        assert!(after.config_error.unwrap().lacks_right());
        scene.director.grant("mesh", &["bosh.read"]);
        scene.now += 300;
        assert!(scene.round().await.config_error.is_none());
    });
}

#[test]
fn a_bad_manifest_costs_its_own_deployment_only() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.deploy(&manifest("a", 3, 70_000)).unwrap();
        scene.director.deploy(&manifest("b", 1, 9090)).unwrap();
        let observation = scene.round().await;
        assert_eq!(facts(&observation), expect(&[("a", 8080, 3), ("b", 9090, 1)]));
        let expected = r#"deployment "a", instance group "web", job "app", expose_ports[0].number: must be between 1 and 65535, is 70000"#;
        assert_eq!(error(&observation, "a"), Some(expected));
        assert_eq!(error(&observation, "b"), None);
        let status = serde_json::to_value(&observation.deployments[0]).unwrap();
        assert_eq!(status["last_good"], 1_000_010);
        scene.director.deploy(&manifest("a", 3, 9091)).unwrap();
        let observation = scene.round().await;
        assert_eq!((facts(&observation)["a"].0.as_slice(), error(&observation, "a")), (&[9091][..], None));
    });
}

#[test]
fn a_bad_manifest_is_not_read_in_every_round_for_ever() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.deploy(&manifest("a", 2, 70_000)).unwrap();
        let before = scene.director.requests()["GET /deployments/:name"];
        for _ in 0..25 {
            scene.round().await;
        }
        let readings = scene.director.requests()["GET /deployments/:name"] - before;
        assert!((3..=7).contains(&readings), "{readings} in 250 seconds");
    });
}

#[test]
fn a_failing_list_is_an_error_and_facts_stay() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        let before = scene.round().await;
        for fault in
            [Fault::Status(500), Fault::Status(401), Fault::NotJson, Fault::TruncatedBody, Fault::ConnectionRefused]
        {
            scene.director.inject(fault.clone());
            let failed = scene.round().await;
            assert!(failed.error.is_some(), "{fault:?}");
            assert!(Arc::ptr_eq(&failed.inventory, &before.inventory));
            scene.director.heal();
            scene.now += 100;
            let healed = scene.round().await;
            assert!(healed.error.is_none() && Arc::ptr_eq(&healed.inventory, &before.inventory), "{fault:?}");
        }
    });
}

#[test]
fn an_empty_list_is_believed_when_it_is_said_twice() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.inject_on("GET /deployments", Fault::EmptyList, Some(1));
        assert_eq!(facts(&scene.round().await).len(), 2);
        assert_eq!(facts(&scene.round().await).len(), 2);
        scene.director.inject_on("GET /deployments", Fault::EmptyList, Some(2));
        assert_eq!(facts(&scene.round().await).len(), 2);
        assert_eq!(facts(&scene.round().await).len(), 0);
        assert_eq!(facts(&scene.round().await), expect(&[("a", 8080, 2), ("b", 8080, 2)]));
    });
}

#[test]
fn an_empty_list_of_instances_is_believed_when_it_is_said_twice() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        let instances = "GET /deployments/:name/instances";
        scene.director.deploy(&manifest("a", 2, 9090)).unwrap();
        scene.director.inject_on(instances, Fault::EmptyList, Some(1));
        assert_eq!(facts(&scene.round().await)["a"], (vec![9090], 2));
        let (observation, requests) = scene.costed().await;
        assert_eq!(facts(&observation)["a"], (vec![9090], 2));
        assert!(requests.contains(&format!("1 {instances}")), "it was read again: {requests:?}");
        assert_eq!(scene.costed().await.1, STEADY);

        scene.director.deploy(&manifest("a", 0, 9090)).unwrap();
        assert_eq!(facts(&scene.round().await)["a"], (vec![9090], 2));
        assert_eq!(facts(&scene.round().await)["a"], (vec![9090], 0));
        assert_eq!(scene.costed().await.1, STEADY);
    });
}

#[test]
fn one_that_cannot_be_read_keeps_its_facts_and_the_others_go_on() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.deploy(&manifest("a", 3, 9090)).unwrap();
        scene.director.inject_on("GET /deployments/a", Fault::Status(500), None);
        let observation = scene.round().await;
        assert_eq!(facts(&observation), expect(&[("a", 8080, 3), ("b", 8080, 2)]));
        assert_eq!(error(&observation, "a"), Some(r#"cannot read the manifest of deployment "a": status 500"#));
        scene.director.heal();
        let observation = scene.round().await;
        assert_eq!(facts(&observation), expect(&[("a", 9090, 3), ("b", 8080, 2)]));
        assert_eq!(error(&observation, "a"), None);
    });
}

#[test]
fn without_events_changes_are_told_by_tasks_that_end() {
    on_actix(async {
        let director = director_with(EmbeddedSettings::default(), false);
        director.deploy(&manifest("a", 1, 8080)).unwrap();
        let mut scene = Scene::new(director);
        assert!(scene.round().await.complete);
        scene.director.deploy(&manifest("a", 1, 9090)).unwrap();
        assert_eq!(facts(&scene.round().await), expect(&[("a", 9090, 1)]));
        scene.director.deploy(&manifest("c", 1, 70)).unwrap();
        assert_eq!(facts(&scene.round().await), expect(&[("a", 9090, 1), ("c", 70, 1)]));
        scene.director.delete("a").unwrap();
        assert_eq!(facts(&scene.round().await), expect(&[("c", 70, 1)]));
    });
}

#[test]
fn events_that_are_switched_off_later_hide_nothing() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.record_events(false);
        for port in 1..5 {
            scene.director.deploy(&manifest("a", 1, port)).unwrap();
            assert_eq!(facts(&scene.round().await)["a"], (vec![u16::try_from(port).unwrap()], 1));
        }
    });
}

#[test]
fn an_event_of_an_impossible_time_is_an_error_of_that_answer() {
    on_actix(async {
        for time in ["-9223372036854775808", "-1", "9223372036854775807", "18446744073709551616", "1e300"] {
            let mut scene = Scene::begun().await;
            let event = format!(r#"[{{"id":"7","timestamp":{time},"object_type":"vm","action":"create"}}]"#);
            scene.director.inject_on("GET /events", Fault::Body(event), None);
            scene.director.deploy(&manifest("a", 1, 9090)).unwrap();
            let observation = scene.round().await;
            assert_eq!(facts(&observation)["a"], (vec![9090], 1), "a task tells it");
            let error = observation.error.expect("an error");
            assert!(chain(error.as_ref()).concat().contains("not what was expected"), "{error:?}");
            scene.director.heal();
            scene.now += 100;
            assert!(scene.round().await.error.is_none());
        }
    });
}

#[test]
fn events_that_cannot_be_read_are_told_and_do_not_stop_the_round() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        scene.director.inject_on("GET /events", Fault::Status(404), Some(1));
        scene.director.deploy(&manifest("a", 1, 9090)).unwrap();
        scene.director.deploy(&manifest("c", 1, 70)).unwrap();
        let observation = scene.round().await;
        assert!(observation.error.is_some());
        assert_eq!(
            facts(&observation),
            expect(&[("a", 9090, 1), ("b", 8080, 2), ("c", 70, 1)]),
            "tasks tell it as well"
        );
        assert!(scene.round().await.error.is_none());
    });
}

#[test]
fn a_silent_director_is_not_asked_about_every_deployment() {
    on_actix(async {
        let director = director();
        for number in 0..30 {
            director.deploy(&manifest(&format!("d{number:02}"), 1, 80)).unwrap();
        }
        let mut scene = Scene::new(director);
        for route in ["GET /deployments/:name", "GET /deployments/:name/instances"] {
            scene.director.inject_on(route, Fault::TruncatedBody, None);
        }
        let (observation, requests) = scene.costed().await;
        assert!(!observation.complete);
        let readings: u64 = requests[1].split(' ').next().unwrap().parse().unwrap();
        assert!(readings <= 3 * 6, "{requests:?}");
        scene.director.heal();
        scene.now += 100;
        let observation = scene.round().await;
        assert!(observation.complete);
        assert_eq!(facts(&observation).len(), 30);
    });
}

#[test]
fn a_manifest_that_is_not_there_yet_exposes_nothing_until_it_is() {
    on_actix(async {
        let mut scene = Scene::begun().await;
        let now = wall_clock();
        let task = scene.director.update(|world, user| world.begin_deploy(&manifest("c", 2, 70), user, now)).unwrap();
        let observation = scene.round().await;
        assert_eq!(facts(&observation)["c"], (vec![], 2));
        assert_eq!(error(&observation, "c"), None);
        scene.director.update(|world, _| world.finish_deploy(task, now));
        assert_eq!(facts(&scene.round().await)["c"], (vec![70], 2));
    });
}

#[test]
fn an_observer_of_an_empty_director_is_complete_after_the_second_list() {
    on_actix(async {
        let mut scene = Scene::new(director());
        assert!(!scene.round().await.complete);
        assert!(scene.round().await.complete);
    });
}

#[test]
fn what_is_observed_may_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Observation>();
    crosses::<boshy_director::client::ClientError>();
    crosses::<boshy_director::client::ClientSettings>();
    crosses::<Handle>();
}
