//! What cannot be read: it is named, keeps its last good facts, and costs nothing else.

use std::sync::Arc;

use boshy_lab_director::Fault;

use crate::{
    common::{director, manifest, on_actix},
    scene::{Scene, error, expect, facts},
};

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
