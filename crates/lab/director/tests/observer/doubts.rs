//! Answers that would remove what is known: those that are believed when they are said twice, and those that are not.

use std::time::Duration;

use boshy_director::observer::{Observer, ObserverSettings};
use boshy_lab_director::{Account, Authentication, EmbeddedSettings, Fault};

use crate::{
    common::{chain, director_with, manifest, on_actix},
    scene::{STEADY, Scene, error, expect, facts},
};

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
