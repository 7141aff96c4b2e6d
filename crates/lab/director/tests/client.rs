//! The client against the embedded director, over real TLS on the loopback interface.

mod common;

use secrecy::SecretString;
use std::time::Duration;

use boshy_director::client::{Cause, ClientSettings, Credentials, DirectorClient, SettingsError, TransportError};
use boshy_lab_director::{Account, Authentication, EmbeddedSettings, Fault};
use common::{chain, client, client_as, director, director_with, manifest, on_actix, settings, since};

fn uaa(token_lifetime: Duration) -> EmbeddedSettings {
    let clients = vec![Account::reader("mesh", "client-secret")];
    EmbeddedSettings { authentication: Authentication::Uaa { clients, token_lifetime }, ..EmbeddedSettings::default() }
}

#[test]
fn it_reads_what_the_mesh_needs() {
    let director = director();
    director.deploy(&manifest("shop", 2, 8080)).unwrap();
    on_actix(async {
        let client = client(&director);
        assert_eq!(client.info().await.unwrap().name, "embedded");
        let listed = client.deployments().await.unwrap();
        assert_eq!((listed.len(), listed[0].name.as_str()), (1, "shop"));
        assert_eq!((&listed[0].releases, listed[0].locked), (&None, None), "what costs the director is excluded");
        assert_eq!(client.manifest("shop").await.unwrap(), Some(manifest("shop", 2, 8080)));
        let instances = client.instances("shop").await.unwrap();
        assert_eq!(
            instances.iter().map(|row| row.ips[0].as_str()).collect::<Vec<_>>(),
            ["10.244.0.126", "10.244.0.127"]
        );
        let events = client.events(None).await.unwrap();
        assert_eq!(client.events(Some(events[0].timestamp)).await.unwrap(), []);
        assert!(!client.events(Some(events[0].timestamp - 1)).await.unwrap().is_empty());
    });
}

#[test]
fn names_are_escaped_in_paths() {
    let director = director();
    let odd = "a b/c?d#e%2F";
    director.deploy(&manifest(&format!("'{odd}'"), 1, 80)).unwrap();
    on_actix(async {
        assert_eq!(client(&director).instances(odd).await.unwrap().len(), 1);
    });
}

#[test]
fn an_unknown_deployment_is_gone() {
    let director = director();
    on_actix(async {
        let error = client(&director).manifest("nope").await.unwrap_err();
        assert!(error.is_gone());
        assert_eq!(
            chain(&error),
            [
                r#"cannot read the manifest of deployment "nope""#,
                "status 404: Deployment 'nope' doesn't exist (code 70000)"
            ]
        );
    });
}

#[test]
fn wrong_credentials_are_named_and_never_shown() {
    let director = director();
    on_actix(async {
        let credentials = Credentials { name: "admin".into(), secret: SecretString::from("hunter2") };
        assert!(!format!("{credentials:?}").contains("hunter2"));
        let error = client_as(&director, credentials).deployments().await.unwrap_err();
        assert_eq!(chain(&error), ["cannot list the deployments", "not authorized"]);
        assert!(!format!("{error:?}").contains("hunter2"));
    });
    assert_eq!(since(&director, &Default::default()), ["1 GET /deployments", "1 GET /info"]);
}

#[test]
fn a_uaa_token_is_fetched_once_and_kept() {
    let director = director_with(uaa(Duration::from_secs(120)), true);
    on_actix(async {
        let client = client(&director);
        for _ in 0..5 {
            client.deployments().await.unwrap();
        }
    });
    assert_eq!(since(&director, &Default::default()), ["5 GET /deployments", "1 GET /info", "1 POST /oauth/token"]);
}

#[test]
fn requests_that_start_together_share_one_token() {
    let director = director_with(uaa(Duration::from_secs(120)), true);
    on_actix(async {
        let client = client(&director);
        let answers = futures::future::join_all((0..8).map(|_| client.deployments())).await;
        assert!(answers.iter().all(Result::is_ok));
        director.revoke_tokens();
        let answers = futures::future::join_all((0..8).map(|_| client.deployments())).await;
        assert!(answers.iter().all(Result::is_ok));
    });
    assert_eq!(director.requests()["POST /oauth/token"], 2);
}

#[test]
fn a_refused_token_is_renewed_once_per_request() {
    let director = director_with(uaa(Duration::from_secs(120)), true);
    on_actix(async {
        let client = client(&director);
        client.deployments().await.unwrap();
        director.revoke_tokens();
        let before = director.requests();
        client.deployments().await.unwrap();
        assert_eq!(since(&director, &before), ["2 GET /deployments", "1 POST /oauth/token"]);

        director.inject_on("GET /deployments", Fault::Status(401), None);
        let before = director.requests();
        let error = client.deployments().await.unwrap_err();
        assert!(matches!(error.cause, Cause::Unauthorized(_)), "{error:?}");
        assert_eq!(since(&director, &before), ["2 GET /deployments", "1 POST /oauth/token"]);
    });
}

#[test]
fn a_token_is_replaced_before_it_expires() {
    let director = director_with(uaa(Duration::from_secs(120)), true);
    on_actix(async {
        let client = client(&director);
        let mut tokens = Vec::new();
        for seconds in [0, 85, 10, 85, 10] {
            pass(Duration::from_secs(seconds)).await;
            client.deployments().await.unwrap();
            tokens.push(director.requests()["POST /oauth/token"]);
        }
        assert_eq!(tokens, [1, 1, 2, 2, 3]);
    });
}

/// Advances the time for the client only.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[test]
fn too_few_scopes_are_told_with_the_reason() {
    let useless = Account { scopes: vec!["openid".into()], ..Account::admin("mesh", "pw") };
    let authentication = Authentication::Uaa { clients: vec![useless], token_lifetime: Duration::from_secs(120) };
    let director = director_with(EmbeddedSettings { authentication, ..EmbeddedSettings::default() }, true);
    on_actix(async {
        let error = client(&director).deployments().await.unwrap_err();
        let Cause::Unauthorized(Some(reason)) = &error.cause else { panic!("{error:?}") };
        assert!(reason.starts_with("Require one of the scopes: bosh.admin"), "{reason}");
    });
    assert_eq!(director.requests()["GET /deployments"], 2, "renewed once, not for ever");
}

#[test]
fn a_uaa_that_refuses_is_named_as_the_cause() {
    let director = director_with(uaa(Duration::from_secs(120)), true);
    on_actix(async {
        let credentials = Credentials { name: "mesh".into(), secret: SecretString::from("wrong") };
        let error = client_as(&director, credentials).events(None).await.unwrap_err();
        let expected = ["cannot read the events", "cannot log in", "cannot get a token from the UAA", "not authorized"];
        assert_eq!(chain(&error), expected);
    });
}

#[test]
fn a_director_that_changes_its_way_to_log_in_is_followed() {
    let director = director_with(uaa(Duration::from_secs(120)), true);
    on_actix(async {
        let basic = Credentials { name: "mesh".into(), secret: SecretString::from("client-secret") };
        let client = client_as(&director, basic);
        director.inject_on("GET /info", Fault::NotJson, Some(1));
        let error = client.deployments().await.unwrap_err();
        assert_eq!(
            chain(&error)[..3],
            ["cannot list the deployments", "cannot log in", "cannot read what the director is"]
        );
        client.deployments().await.unwrap();
    });
}

#[test]
fn server_errors_are_retried_a_few_times() {
    let director = director();
    on_actix(async {
        let client = client(&director);
        director.inject_on("GET /deployments", Fault::Status(503), Some(2));
        client.deployments().await.unwrap();
        assert_eq!(director.requests()["GET /deployments"], 3);
        director.inject_on("GET /deployments", Fault::Status(500), None);
        let error = client.deployments().await.unwrap_err();
        assert_eq!(chain(&error), ["cannot list the deployments", "status 500"]);
        assert_eq!(director.requests()["GET /deployments"], 6);
        director.heal();
        director.inject_on("GET /deployments", Fault::Status(404), None);
        client.deployments().await.unwrap_err();
        assert_eq!(director.requests()["GET /deployments"], 7, "what the client is to blame for is not repeated");
    });
}

#[test]
fn redirects_are_followed_to_the_own_host_with_the_login() {
    let director = director();
    on_actix(async {
        let client = client(&director);
        for status in [302, 303] {
            let elsewhere = Fault::Redirect(status, "https://10.9.9.9:1/deployments?exclude_lock=true".into());
            director.inject_on("GET /deployments", elsewhere, Some(1));
            assert_eq!(client.deployments().await.unwrap(), []);
        }
        assert_eq!(director.requests()["GET /deployments"], 4);
        director.inject_on("GET /deployments", Fault::Redirect(302, "/deployments".into()), None);
        let error = client.deployments().await.unwrap_err();
        assert_eq!(chain(&error)[1], "redirected too often");
    });
}

#[test]
fn a_truncated_answer_is_no_answer() {
    let director = director();
    on_actix(async {
        let client = client(&director);
        director.inject_on("GET /deployments", Fault::TruncatedBody, Some(1));
        client.deployments().await.unwrap();
        director.inject_on("GET /deployments", Fault::TruncatedBody, None);
        let error = client.deployments().await.unwrap_err();
        assert!(error.is_silence(), "{error:?}");
    });
}

#[test]
fn an_answer_that_is_no_json_or_too_large_is_refused() {
    let director = director();
    on_actix(async {
        let client = DirectorClient::new(&ClientSettings { max_body: 10_000, ..settings(&director) }).unwrap();
        director.inject_on("GET /deployments", Fault::NotJson, None);
        let error = client.deployments().await.unwrap_err();
        assert!(matches!(error.cause, Cause::Malformed(_)), "{error:?}");
        director.heal();
        director.inject_on("GET /deployments", Fault::Huge(10_001), None);
        let error = client.deployments().await.unwrap_err();
        assert_eq!(chain(&error)[1], "the answer is larger than 10000 bytes");
    });
}

#[test]
fn a_late_answer_is_not_waited_for() {
    let director = director();
    on_actix(async {
        let impatient = ClientSettings { timeout: Duration::from_millis(100), attempts: 1, ..settings(&director) };
        director.inject_on("GET /info", Fault::Delay(Duration::from_secs(60)), None);
        let error = DirectorClient::new(&impatient).unwrap().info().await.unwrap_err();
        assert!(matches!(error.cause, Cause::Transport(TransportError::Timeout(_))), "{error:?}");
    });
}

#[test]
fn a_director_that_is_down_is_silence_and_one_that_is_back_is_read_again() {
    let director = director();
    director.deploy(&manifest("shop", 1, 80)).unwrap();
    on_actix(async {
        let client = client(&director);
        client.deployments().await.unwrap();
        director.inject(Fault::ConnectionRefused);
        let error = client.deployments().await.unwrap_err();
        assert!(error.is_silence(), "{error:?}");
        assert_eq!(chain(&error)[..3], ["cannot list the deployments", "no answer", "cannot connect"]);
        director.heal();
        assert_eq!(client.deployments().await.unwrap().len(), 1);
    });
}

#[test]
fn only_the_given_ca_is_trusted() {
    let (director, other) = (director(), director());
    on_actix(async {
        let strange = ClientSettings { ca_pem: Some(other.ca_pem().to_owned()), ..settings(&director) };
        let error = DirectorClient::new(&strange).unwrap().info().await.unwrap_err();
        assert!(chain(&error).iter().any(|text| text.contains("certificate")), "{:?}", chain(&error));
    });
    assert_eq!(director.requests().len(), 0);
}

#[test]
fn settings_that_would_show_credentials_or_trust_anybody_are_refused() {
    let director = director();
    let with = |url: &str, ca_pem: Option<&str>| {
        let settings = ClientSettings { url: url.to_owned(), ca_pem: ca_pem.map(str::to_owned), ..settings(&director) };
        DirectorClient::new(&settings).map(drop)
    };
    assert!(matches!(with("https://10.0.0.6:25555", None), Err(SettingsError::NoCa(_))));
    assert!(matches!(with("http://10.0.0.6:25555", None), Err(SettingsError::Insecure(_))));
    assert!(matches!(with("ftp://127.0.0.1", None), Err(SettingsError::Insecure(_))));
    assert!(matches!(with("no url", None), Err(SettingsError::Url { .. })));
    assert!(matches!(with("https://10.0.0.6", Some("no pem")), Err(SettingsError::BadCa(_))));
    assert!(with("http://127.0.0.1:25555", None).is_ok());
    assert!(with("http://localhost:25555", None).is_ok());
    assert!(with("https://10.0.0.6:25555", Some(director.ca_pem())).is_ok());
}
