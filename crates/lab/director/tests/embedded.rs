//! The embedded director as the lab uses it.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod common;

use std::{sync::Arc, time::Duration};

use boshy_http_client::{HttpClient, whole};
use boshy_lab_director::{LAB_CLOUD_CONFIG, World};
use boshy_mesh::Timestamp;
use common::{director, manifest, on_actix};
use http::{Request, Version};

const MAX_BODY: usize = 1 << 20;

#[test]
fn who_follows_it_sees_every_change_of_instances() {
    let director = director();
    let mut view = director.subscribe();
    assert!(view.borrow_and_update().deployments.is_empty());
    director.deploy(&manifest("shop", 2, 80)).unwrap();
    assert!(view.has_changed().unwrap());
    let seen = view.borrow_and_update().clone();
    let deployment = &seen.deployments[0];
    assert_eq!((deployment.name.as_str(), deployment.instances.len()), ("shop", 2));
    assert_eq!(deployment.manifest.as_deref(), Some(manifest("shop", 2, 80).as_str()));
    assert_eq!(deployment.instances[0].ips()[0].to_string(), "10.244.0.126");

    director.deploy(&manifest("shop", 2, 80)).unwrap();
    assert!(!view.has_changed().unwrap(), "the same again is no change");
    assert!(director.deploy("name: [").is_err());
    assert!(!view.has_changed().unwrap());
    director.delete("shop").unwrap();
    assert!(view.borrow_and_update().deployments.is_empty());
}

#[test]
fn a_change_by_request_is_seen_as_well() {
    let director = director();
    director.deploy(&manifest("shop", 1, 80)).unwrap();
    let mut view = director.subscribe();
    view.mark_unchanged();
    on_actix(async {
        let path = "deployments/shop/instance_groups/web/0/actions/stop?hard=true";
        let client = client_offering(&director, vec![b"http/1.1".to_vec()]);
        let request =
            Request::post(format!("{}/{path}", director.url())).header("authorization", "Basic YWRtaW46YWRtaW4=");
        let answer = client.send(request.body(whole("")).unwrap(), MAX_BODY).await.unwrap();
        assert_eq!(answer.status(), 302);
        let location = answer.headers().get("location").unwrap().to_str().unwrap().to_owned();
        assert_eq!(location, format!("{}/tasks/2", director.url()));
        tokio::time::timeout(Duration::from_secs(5), view.changed()).await.unwrap().unwrap();
        assert!(view.borrow().deployments[0].instances[0].vm.is_none());
    });
}

#[test]
fn only_http_1_1_is_offered() {
    let director = director();
    on_actix(async {
        let client = client_offering(&director, vec![b"h2".to_vec(), b"http/1.1".to_vec()]);
        let request = Request::get(format!("{}/info", director.url())).body(whole("")).unwrap();
        assert_eq!(client.send(request, MAX_BODY).await.unwrap().version(), Version::HTTP_11);
    });
}

#[test]
fn deployments_get_addresses_in_their_order_and_a_refused_manifest_changes_nothing() {
    let mut world = World::new(LAB_CLOUD_CONFIG, true, 1).unwrap();
    for name in ["first", "second"] {
        world.deploy(&manifest(name, 1, 80), "admin", Timestamp(0)).unwrap();
    }
    let view = world.view();
    let first_ips = view.deployments.iter().map(|deployment| deployment.instances[0].ips()[0].to_string());
    assert_eq!(first_ips.collect::<Vec<_>>(), ["10.244.0.126", "10.244.0.127"]);
    assert!(world.deploy("foo: 1", "admin", Timestamp(0)).is_err());
    assert_eq!(world.view().deployments.len(), 2);
}

#[test]
fn a_cloud_config_that_cannot_be_used_is_refused_at_once() {
    assert!(World::new("networks: [", true, 1).is_err());
    assert!(World::new("networks: [{name: n, subnets: [{range: nonsense}]}]", true, 1).is_err());
}

fn client_offering(director: &boshy_lab_director::Handle, offers: Vec<Vec<u8>>) -> HttpClient {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(director.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = offers;
    HttpClient::new(Arc::new(config), Duration::from_secs(5))
}
