//! The client changes the embedded director over real TLS on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod rude;
#[allow(dead_code, reason = "the unit tests make other releases")]
#[path = "../../src/release/testing.rs"]
mod testing;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "../common/vms.rs"]
mod vms;

use secrecy::SecretString;
use std::{pin::pin, time::Duration};

use boshy_director::client::{
    Cause, ClientError, ClientSettings, Credentials, DirectorClient, StepState, TaskStatus, TaskStep, TransportError,
};
use boshy_lab_director::{Account, Authentication, EmbeddedSettings, Fault, LAB_CLOUD_CONFIG};

use self::{
    bench::{Bench, done, follow, shop, uaa},
    common::{chain, client, client_as, director, director_with, manifest, on_actix, settings, since},
    rude::rude,
};

/// The routes of all writes.
const WRITES: [&str; 4] = ["POST /releases", "POST /deployments", "DELETE /deployments/:name", "POST /configs"];

/// The error of every write, with its route.
async fn failures(client: &DirectorClient, bench: &Bench) -> impl Iterator<Item = (&'static str, ClientError)> {
    let errors = [
        client.upload_release(&bench.release()).await.unwrap_err(),
        client.deploy(&shop(1)).await.unwrap_err(),
        client.delete_deployment("shop").await.unwrap_err(),
        client.update_config("runtime", "default", "{}").await.unwrap_err(),
    ];
    WRITES.into_iter().zip(errors)
}

#[test]
fn what_is_written_is_there_when_its_task_is_done() {
    let bench = Bench::basic();
    on_actix(async {
        let client = client(&bench.director);
        done(&client, client.upload_release(&bench.release()).await).await;
        let releases = client.releases().await.unwrap();
        assert_eq!((releases[0].name.as_str(), releases[0].release_versions[0].version.as_str()), ("sample", "0.1.0"));

        let steps = done(&client, client.deploy(&shop(2)).await).await;
        assert!(steps.iter().any(|step| step.starts_with("web/") && step.ends_with("(canary)")), "{steps:?}");
        assert_eq!(client.manifest("shop").await.unwrap(), Some(shop(2)));

        done(&client, client.delete_deployment("shop").await).await;
        assert_eq!(client.deployments().await.unwrap(), []);
    });
    let counted = bench.director.requests();
    let routes = ["POST /releases", "POST /deployments", "DELETE /deployments/:name"];
    assert_eq!(routes.map(|route| counted[route]), [1, 1, 1]);
}

#[test]
fn a_config_replaces_the_one_of_its_type_and_name() {
    let director = director();
    on_actix(async {
        let client = client(&director);
        client.update_config("cloud", "default", &LAB_CLOUD_CONFIG.replace("10.244.", "10.245.")).await.unwrap();
        client.update_config("cloud-not", "default", LAB_CLOUD_CONFIG).await.unwrap();
        client.deploy(&manifest("shop", 1, 80)).await.unwrap();
        assert_eq!(client.instances("shop").await.unwrap()[0].ips, ["10.245.0.126"]);
        let events = client.events(None).await.unwrap();
        assert!(events.iter().any(|event| event.object_type == "config/cloud-not"), "{events:?}");
    });
}

#[test]
fn a_task_is_told_of_while_it_goes_on() {
    let bench = Bench::basic();
    bench.vms.hold("start web/0");
    on_actix(async {
        let client = client(&bench.director);
        let task = client.deploy(&shop(1)).await.unwrap();
        let updating = |step: &TaskStep| step.stage == "Updating instance";
        let mut first = client.task_steps(task, 0).await.unwrap();
        while !first.steps.iter().any(updating) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            first = client.task_steps(task, 0).await.unwrap();
        }
        assert_eq!(client.task(task).await.unwrap(), TaskStatus::UnderWay);
        bench.vms.heal();
        let (status, all) = follow(&client, task).await;
        let rest = client.task_steps(task, first.next).await.unwrap().steps;
        assert_eq!((status, [first.steps, rest].concat()), (TaskStatus::Done, all));
    });
}

#[test]
fn a_task_that_fails_says_at_which_step_and_why() {
    let bench = Bench::basic();
    bench.vms.fail("create web/0", "no room");
    on_actix(async {
        let client = client(&bench.director);
        let (status, steps) = follow(&client, client.deploy(&shop(1)).await.unwrap()).await;
        let TaskStatus::Failed { state: "error", result } = status else { panic!("{status:?}") };
        assert!(result.contains("no room"), "{result}");
        let failed = steps.iter().find_map(|step| match &step.state {
            StepState::Failed(reason) => Some((step.stage.as_str(), reason.clone().unwrap_or_default())),
            _ => None,
        });
        let (stage, reason) = failed.unwrap();
        assert!(stage == "Creating missing vms" && reason.contains("no room"), "{stage}: {reason}");

        let upload = client.upload_release(&bench.file(b"no archive")).await.unwrap();
        let (status, _) = follow(&client, upload).await;
        assert!(matches!(&status, TaskStatus::Failed { state: "error", result } if !result.is_empty()), "{status:?}");
    });
}

#[test]
fn a_refusal_is_told_with_the_directors_words_and_number() {
    let director = director();
    on_actix(async {
        let client = client(&director);
        let refused = client.deploy("name: [").await.unwrap_err();
        let [operation, cause] = &chain(&refused)[..] else { panic!("{refused:?}") };
        assert_eq!(operation, "cannot deploy");
        assert!(cause.starts_with("status 400: Incorrect YAML structure of the uploaded manifest"), "{cause}");
        assert!(cause.ends_with("(code 440001)"), "{cause}");

        let refused = client.delete_deployment("nope").await.unwrap_err();
        assert!(refused.is_gone());
        let expected = r#"cannot delete deployment "nope""#;
        assert_eq!(chain(&refused), [expected, "status 404: Deployment 'nope' doesn't exist (code 70000)"]);

        let refused = client.update_config("mesh", "routes", "- a").await.unwrap_err();
        let [operation, cause] = &chain(&refused)[..] else { panic!("{refused:?}") };
        assert_eq!(operation, r#"cannot update the mesh config "routes""#);
        assert!(cause.starts_with("status 400: ") && cause.contains("(code 4400"), "{cause}");

        let task = client.deploy(&manifest("shop", 1, 80)).await.unwrap();
        let other = common::director();
        let refused = common::client(&other).task(task).await.unwrap_err();
        assert_eq!(chain(&refused), ["cannot read task 1", "status 404: Task 1 not found (code 10000)"]);
    });
}

#[test]
fn who_may_only_read_is_told_which_scope_is_missing() {
    let clients = vec![Account::reader("mesh", "hunter2")];
    let bench = Bench::new(Authentication::Uaa { clients, token_lifetime: Duration::from_secs(120) });
    on_actix(async {
        let client = client(&bench.director);
        for (route, error) in failures(&client, &bench).await {
            let Cause::Unauthorized(Some(reason)) = &error.cause else { panic!("{error:?}") };
            assert!(reason.starts_with("Require one of the scopes: bosh.admin"), "{reason}");
            assert_eq!(bench.director.requests()[route], 2, "{route}: renewed once, not for ever");
        }
    });
}

#[test]
fn what_a_director_fails_at_may_be_done_and_is_not_sent_again() {
    let bench = Bench::basic();
    on_actix(async {
        let client = client(&bench.director);
        for status in [500, 503] {
            for route in WRITES {
                bench.director.inject_on(route, Fault::Status(status), None);
            }
            let before = bench.director.requests();
            for (route, error) in failures(&client, &bench).await {
                assert_eq!(chain(&error)[1], format!("status {status}"), "{route}");
                assert_eq!(bench.director.requests()[route] - before.get(route).unwrap_or(&0), 1, "{route}");
            }
            bench.director.heal();
        }
    });
}

#[test]
fn an_answer_that_breaks_off_is_silence_and_nothing_is_sent_again() {
    let bench = Bench::basic();
    on_actix(async {
        let client = client(&bench.director);
        for route in WRITES {
            bench.director.inject_on(route, Fault::TruncatedBody, None);
        }
        for (route, error) in failures(&client, &bench).await {
            assert!(error.is_silence(), "{route}: {error:?}");
            assert_eq!(bench.director.requests()[route], 1, "{route}");
        }
    });
}

#[test]
fn a_director_that_hangs_up_or_stands_still_is_asked_once() {
    let bench = Bench::basic();
    on_actix(async {
        for (stands_still, timeout) in [(false, Duration::from_secs(5)), (true, Duration::from_millis(300))] {
            let (url, asked) = rude(stands_still).await;
            let client = DirectorClient::new(&ClientSettings { url, timeout, ..settings(&bench.director) }).unwrap();
            for (route, error) in failures(&client, &bench).await {
                let as_it_was = match &error.cause {
                    Cause::Transport(TransportError::Timeout(_)) => stands_still,
                    Cause::Transport(TransportError::Broken(_)) => !stands_still,
                    _ => false,
                };
                assert!(as_it_was, "{route}: {error:?}");
            }
            assert_eq!(asked.get(), 4);
        }
    });
}

#[test]
fn a_login_that_becomes_too_old_during_an_upload_is_renewed_once_and_the_file_sent_whole() {
    let bench = Bench::new(uaa());
    on_actix(async {
        let client = client(&bench.director);
        client.deployments().await.unwrap();
        let before = bench.director.requests();
        let release = bench.release();
        let mut upload = pin!(client.upload_release(&release));
        // By now it has its login, and waits for the file to be opened.
        assert!(futures::poll!(upload.as_mut()).is_pending());
        bench.director.revoke_tokens();
        let task = upload.await;
        assert_eq!(since(&bench.director, &before), ["1 POST /oauth/token", "2 POST /releases"]);
        done(&client, task).await;
        assert_eq!(client.releases().await.unwrap()[0].name, "sample");
    });
}

#[test]
fn a_refused_login_is_renewed_once_for_each_write() {
    let bench = Bench::new(uaa());
    on_actix(async {
        let client = client(&bench.director);
        client.deployments().await.unwrap();
        bench.director.revoke_tokens();
        let before = bench.director.requests();
        let task = client.deploy(&shop(1)).await;
        assert_eq!(since(&bench.director, &before), ["2 POST /deployments", "1 POST /oauth/token"]);
        done(&client, task).await;
        bench.director.revoke_tokens();
        let before = bench.director.requests();
        client.update_config("mesh", "routes", "a: 1").await.unwrap();
        assert_eq!(since(&bench.director, &before), ["2 POST /configs", "1 POST /oauth/token"]);
        bench.director.revoke_tokens();
        let before = bench.director.requests();
        client.delete_deployment("shop").await.unwrap();
        assert_eq!(since(&bench.director, &before), ["2 DELETE /deployments/:name", "1 POST /oauth/token"]);
    });
}

#[test]
fn a_task_is_known_by_the_path_of_the_redirect_which_is_not_followed() {
    let director = director();
    on_actix(async {
        let client = client(&director);
        client.deployments().await.unwrap();
        let redirect = |status, place: &str| {
            director.inject_on("POST /deployments", Fault::Redirect(status, place.to_owned()), Some(1));
        };
        let before = director.requests();
        for status in [302, 303] {
            redirect(status, "https://10.9.9.9:1/tasks/27");
            assert_eq!(client.deploy("name: a").await.unwrap().to_string(), "27");
        }
        redirect(302, "/tasks/28");
        assert_eq!(client.deploy("name: a").await.unwrap().to_string(), "28");
        redirect(302, "https://10.9.9.9:1/login?next=/tasks/1");
        assert_eq!(chain(&client.deploy("name: a").await.unwrap_err())[1], "status 302, and no task");
        redirect(307, "https://10.9.9.9:1/tasks/27");
        assert_eq!(chain(&client.deploy("name: a").await.unwrap_err())[1], "status 307");
        director.inject_on("POST /deployments", Fault::Status(200), Some(1));
        assert_eq!(chain(&client.deploy("name: a").await.unwrap_err())[1], "status 200, and no task");
        assert_eq!(since(&director, &before), ["6 POST /deployments"]);
    });
}

#[test]
fn what_is_read_of_a_task_is_asked_for_again_when_the_director_fails() {
    let director = director();
    on_actix(async {
        let client = client(&director);
        let task = client.deploy(&manifest("shop", 1, 80)).await.unwrap();
        director.inject_on("GET /tasks/:id", Fault::Status(503), Some(2));
        assert_eq!(client.task(task).await.unwrap(), TaskStatus::Done);
        director.inject_on("GET /tasks/:id/output", Fault::TruncatedBody, Some(1));
        client.task_steps(task, 0).await.unwrap();
        assert_eq!(director.requests()["GET /tasks/:id/output"], 2);
    });
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_is_nobodys_silence() {
    let bench = Bench::basic();
    on_actix(async {
        let client = client(&bench.director);
        let missing = bench.folder.path().join("nonesuch");
        let error = client.upload_release(&missing).await.unwrap_err();
        let operation = format!("cannot upload the release {}", missing.display());
        assert_eq!(chain(&error)[..2], [operation.as_str(), "the file cannot be read"]);
        // A folder that is not empty can be opened and has a length, but no content.
        let folder = bench.release().parent().unwrap().to_owned();
        let error = client.upload_release(&folder).await.unwrap_err();
        assert!(matches!(&error.cause, Cause::Unreadable(_)) && !error.is_silence(), "{error:?}");
    });
    assert_eq!(bench.director.requests().get("POST /releases"), None);
}

#[test]
fn no_error_shows_a_secret() {
    let basic = director();
    let uaa = director_with(EmbeddedSettings { authentication: uaa(), ..EmbeddedSettings::default() }, true);
    on_actix(async {
        for (director, secret) in [(&basic, "swordfish"), (&uaa, "swordfish"), (&uaa, "hunter2")] {
            let credentials = Credentials { name: "lab".into(), secret: SecretString::from(secret) };
            let client = client_as(director, credentials);
            let body = "name: [ # pass-in-manifest";
            let errors =
                [client.deploy(body).await.err(), client.update_config("mesh", "a", "- pass-in-config").await.err()];
            for error in errors {
                let error = error.unwrap();
                let shown = format!("{error:?} {}", chain(&error).join(": "));
                for hidden in [secret, "pass-in-config", "token-1", "Basic ", "Bearer "] {
                    assert!(!shown.contains(hidden), "{hidden} in {shown}");
                }
            }
        }
    });
}
