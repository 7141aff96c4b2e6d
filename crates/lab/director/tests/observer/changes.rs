//! What changes at the director, when it is seen, and what seeing it costs.

use std::sync::Arc;

use boshy_director::observer::Observation;
use boshy_lab_director::Handle;

use crate::{
    common::{director, manifest, on_actix, wall_clock},
    scene::{STEADY, Scene, error, expect, facts},
};

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
