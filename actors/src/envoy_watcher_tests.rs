//! Tests the watcher with an admin interface whose answers the test decides.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Mutex,
    thread,
};

use boshy_xds::{Layer, Resource, ResourceMap, ResourceType, TypedResources};

use super::*;

/// An admin interface with these listeners, `NAME=VERSION`, no clusters, and a timeout of 50 s for vanished peers. It
/// serves until the process ends.
fn admin(listeners: &Arc<Mutex<Vec<(&'static str, String)>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listeners = Arc::clone(listeners);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let entry = |(name, version): &(&str, String)| serde_json::json!({"name": name, "active_state": {"version_info": version}});
            let entries: Vec<_> = listeners.lock().unwrap().iter().map(entry).collect();
            let body = if request.contains("dynamic_listeners") {
                serde_json::json!({"configs": entries}).to_string()
            } else if request.contains("/runtime") {
                serde_json::json!({"entries": {"boshy.peer_timeout": {"final_value": "50"}}}).to_string()
            } else {
                "{}".to_owned()
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    address
}

/// Parts with an admin interface that has these listeners, and with these resources served.
fn parts(
    listeners: &Arc<Mutex<Vec<(&'static str, String)>>>,
    served: ResourceSet,
    ack_states: AckStates,
) -> EnvoyWatcherParts {
    EnvoyWatcherParts {
        admin: admin(listeners),
        peer_timeout: Some(Duration::from_secs(50)),
        set_otherwise: Arc::default(),
        live: Arc::default(),
        served: watch::Sender::new(Arc::new(served)).subscribe(),
        ack_states,
        proxies: Proxies::default(),
        repairs: Repairs::default(),
        inspected: Arc::default(),
    }
}

#[test]
fn what_envoy_lacks_in_two_looks_is_told_and_repaired_and_forgotten_once_it_is_there() {
    actix::System::new().block_on(async {
        let resource = Arc::new(Resource::new("virtual", "body"));
        let map = ResourceMap::from([(resource.name.clone(), Arc::clone(&resource))]);
        let set = ResourceSet::default()
            .with(ResourceType::Listener, TypedResources::new([Layer::new(map)]))
            .with(ResourceType::Cluster, TypedResources::new([Layer::default()]));
        let ack_states = AckStates::with_acked(&[(ResourceType::Listener, &resource)]);
        let has = Arc::new(Mutex::new(vec![("left-over", "1".to_owned())]));
        let parts = parts(&has, set, ack_states.0.clone());
        let inspected = Arc::clone(&parts.inspected);
        let mut inspector = Inspector::new(parts);
        let mut looks = async || {
            inspector.due = Instant::now();
            inspector.look_when_due().await;
            inspected.load().as_ref().clone()
        };
        assert_eq!(looks().await.differing, 0, "it may be under way");
        let told = looks().await;
        assert_eq!((told.error, told.differing, told.repairs), (None, 2, 2));
        let sentences: Vec<_> = told.differences.iter().map(Difference::sentence).collect();
        assert!(
            sentences[0].contains("left-over") && sentences[1].contains("virtual and does not have it"),
            "{sentences:?}"
        );
        *has.lock().unwrap() = vec![("virtual", resource.version.to_string())];
        let told = looks().await;
        assert_eq!((told.differing, told.repairs), (0, 2));
    });
}

#[test]
fn a_timeout_that_envoys_job_has_set_otherwise_is_told_until_both_are_equal() {
    actix::System::new().block_on(async {
        let parts = parts(&Arc::default(), ResourceSet::default(), AckStates::default());
        let compare = async |peer_timeout| {
            Inspector::new(EnvoyWatcherParts { peer_timeout, ..parts.clone() }).compare_settings().await;
            parts.set_otherwise.load().as_ref().clone()
        };
        let told = "`envoy.peer_timeout` is 0 s here, and `peer_timeout` is 50 s at Envoy";
        assert_eq!(compare(None).await.as_deref(), Some(told));
        assert_eq!(compare(Some(Duration::from_secs(50))).await, None);
    });
}
