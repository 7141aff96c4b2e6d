//! Events of the director: absent, switched off, and impossible.

use boshy_lab_director::{EmbeddedSettings, Fault};

use crate::{
    common::{chain, director_with, manifest, on_actix},
    scene::{Scene, expect, facts},
};

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
