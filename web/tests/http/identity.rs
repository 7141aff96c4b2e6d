//! What operators ask about the identities of VMs, and what only those on the pilot's VM may change.

use std::sync::{Arc, Mutex};

use actix_web::test::TestRequest;
use boshy_mesh::{AuthorityCertificate, MeshAuthority, TrustStanding};
use boshy_web::{identity, pilot};

use crate::{
    client::{Seen, client},
    samples,
};

const ALLOW: &str = "/identity/allow/6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11";

/// A mesh without instances.
pub(crate) fn standing() -> TrustStanding {
    let root = AuthorityCertificate { fingerprint: "0a".into(), subject: "CN=root".into(), end: 7 };
    TrustStanding::count(&MeshAuthority { issuer: root.clone(), root: "0a".into(), roots: vec![root] }, &[])
}

#[actix_web::test]
async fn the_roots_are_shown_by_a_pilot_that_has_an_authority() {
    let (_sender, view) = samples::pilot(samples::orchard());
    let bare = view.clone();
    let ask = client!(move |config| pilot::configure(config, &bare));
    let none = "the pilot has no certificate authority (`identity`)";
    assert_eq!(ask(TestRequest::get().uri("/identity/roots")).await, Seen::text(503, none));

    let view = view.with_roots(Arc::new(|| Some(standing())));
    let ask = client!(move |config| pilot::configure(config, &view));
    let seen = ask(TestRequest::get().uri("/identity/roots")).await;
    assert_eq!(serde_json::from_str::<TrustStanding>(&seen.body).unwrap(), standing());
}

#[actix_web::test]
async fn a_key_is_forgotten_only_where_that_is_mounted_and_the_reason_is_told_when_it_cannot_be() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let allow: identity::Allow = Arc::new(move |instance| {
        let mut heard = heard.lock().unwrap();
        heard.push(instance);
        let answer = if heard.len() == 1 { Ok(1) } else { Err("no disk".to_owned()) };
        Box::pin(async move { answer })
    });
    let (_sender, view) = samples::pilot(samples::orchard());
    let bare = view.clone();
    let ask = client!(move |config| {
        identity::configure(config, &allow);
        pilot::configure(config, &view);
    });
    let post = || TestRequest::post().uri(ALLOW);
    assert_eq!(ask(post()).await, Seen::json(r#"{"known":1}"#));
    assert_eq!(ask(post()).await, Seen::text(503, "no disk"));
    assert_eq!(ask(TestRequest::get().uri(ALLOW)).await.status, 405);
    assert_eq!(*asked.lock().unwrap(), ["6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11"; 2]);

    let ask = client!(move |config| pilot::configure(config, &bare));
    assert_eq!(ask(post()).await.status, 404, "the ports do not have it");
}
