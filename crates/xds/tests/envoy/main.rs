//! Tests resources, sessions and the bootstrap with a real Envoy, named by BOSHY_ENVOY.
//!
//! No redirection is set up, so no traffic reaches a virtual IP. The test checks that Envoy accepts everything, and
//! what it makes of it.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod captured;
mod driver;
#[path = "../support/forgetful.rs"]
mod forgetful;
#[path = "../support/mesh.rs"]
mod mesh;
mod secrets;
mod tunnels;

use std::{sync::Arc, time::Duration};

use ResourceType::{Cluster, Listener as Listeners};
use boshy_xds::{
    AckState, AdminAddress, Bootstrap, Flavour, Layer, PeerTimeout, Resource, ResourceMap, ResourceSet, ResourceType,
    TypedResources,
};
use driver::{DEADLINE, Mesh, program, version};
use envoy_types::pb::{
    self,
    envoy::config::{cluster::v3::Cluster as CdsCluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener},
};
use mesh::service;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    process::Command,
    time::{Instant, timeout},
};

async fn services_come_scale_and_go(flavour: Flavour) {
    let web = |zones: &[Option<&str>]| service("web", 2, zones);
    let mut mesh = Mesh::start(flavour, &[web(&[Some("z1")])]).await;
    mesh.accepted(3).await;
    assert!(mesh.proxies.list()[0].flavour == flavour);

    mesh.change(&[service("api", 20, &[None]), web(&[Some("z1")])]);
    mesh.accepted(4).await;
    mesh.change(&[service("api", 20, &[None, Some("z1"), Some("z2")]), web(&[Some("z1")])]);
    mesh.accepted(4).await;
    let clusters = mesh.admin("/clusters").await;
    for last in 20..23 {
        assert!(clusters.contains(&format!("out.api.g.d.boshy|http::10.0.0.{last}:9000::")), "{clusters}");
    }
    mesh.change(&[web(&[Some("z1")])]);
    mesh.eventually("the cluster goes", |ack_states| {
        ack_states.acked_version(Cluster, "out.api.g.d.boshy|http").is_none()
    })
    .await;
    assert!(!mesh.admin("/clusters").await.contains("out.api"), "the cluster is gone");
    mesh.accepted(3).await;
}

#[tokio::test]
async fn by_delta_services_come_scale_and_go() {
    services_come_scale_and_go(Flavour::Delta).await;
}

#[tokio::test]
async fn by_state_of_the_world_services_come_scale_and_go() {
    services_come_scale_and_go(Flavour::Sotw).await;
}

#[tokio::test]
async fn an_envoy_that_comes_back_to_another_server_is_sent_only_what_changed() {
    let web = service("web", 2, &[None]);
    let mut mesh = Mesh::start(Flavour::Delta, std::slice::from_ref(&web)).await;
    mesh.accepted(3).await;
    mesh.replace_server().await;
    mesh.accepted(3).await;
    let proxy = mesh.proxies.list().remove(0);
    assert!(proxy.types.len() == 3 && proxy.types.values().all(|status| status.sent.is_none()), "{proxy:?}");

    mesh.change(&[service("api", 20, &[None]), web]);
    mesh.accepted(4).await;
}

/// The clusters of each generation have another connect timeout. Their endpoints are the same in all.
fn with_other_clusters(set: ResourceSet) -> ResourceSet {
    let seconds = i64::try_from(set.generation()).unwrap();
    let changed = |resource: &Arc<Resource>| {
        let connect_timeout = Some(pb::google::protobuf::Duration { seconds, nanos: 0 });
        let cluster = CdsCluster { connect_timeout, ..CdsCluster::decode(resource.body.clone()).unwrap() };
        Resource::new(resource.name.clone(), cluster.encode_to_vec())
    };
    let clusters = set.of(Cluster).iter().map(changed).collect();
    set.with(Cluster, TypedResources::new([clusters]))
}

/// Envoy uses a changed cluster at once, although its endpoints have not changed. Without them it would wait for 15 s.
async fn a_changed_cluster_is_used_at_once(flavour: Flavour) {
    const AT_ONCE: Duration = Duration::from_secs(2);
    let services = [service("api", 20, &[None]), service("web", 2, &[Some("z1")])];
    let mut mesh = Mesh::altered(flavour, &services, with_other_clusters, None).await;
    mesh.accepted(4).await;
    for (generation, while_away) in [(2, false), (3, true), (4, false)] {
        if while_away {
            mesh.stop_server().await;
        }
        mesh.change(&services);
        let generations = mesh.set.wait_for(|set| set.generation() == generation);
        drop(timeout(DEADLINE, generations).await.unwrap().unwrap());
        if while_away {
            mesh.start_server();
            mesh.eventually("Envoy is back", |ack_states| ack_states.connected() == 1).await;
        }
        let changed = Instant::now();
        mesh.accepted(4).await;
        let waited = changed.elapsed();
        assert!(waited < AT_ONCE, "{flavour:?}, generation {generation}: {waited:?}");
        let active = mesh.admin("/config_dump?resource=dynamic_active_clusters").await;
        let timeouts = active.matches(&format!("\"connect_timeout\": \"{generation}s\"")).count();
        assert_eq!(timeouts, mesh.set.borrow().of(Cluster).len(), "{active}");
        let clusters = mesh.admin("/clusters").await;
        assert!(clusters.contains("out.api.g.d.boshy|http::10.0.0.20:9000::"), "{clusters}");
    }
}

#[tokio::test]
async fn by_delta_a_changed_cluster_is_used_at_once() {
    a_changed_cluster_is_used_at_once(Flavour::Delta).await;
}

#[tokio::test]
async fn by_state_of_the_world_a_changed_cluster_is_used_at_once() {
    a_changed_cluster_is_used_at_once(Flavour::Sotw).await;
}

/// In the first generation, endpoints have names of their own, as a pilot of the first release gives them.
fn with_other_endpoint_names_before(set: ResourceSet) -> ResourceSet {
    if set.generation() > 1 {
        return set;
    }
    let key = |name: &str| name.strip_prefix("out.").unwrap_or(name).to_owned();
    let clusters = set.of(Cluster).iter().map(|resource| {
        let mut cluster = CdsCluster::decode(resource.body.clone()).unwrap();
        if let Some(eds) = &mut cluster.eds_cluster_config {
            eds.service_name = key(&resource.name);
        }
        Resource::new(resource.name.clone(), cluster.encode_to_vec())
    });
    let endpoints = set.of(ResourceType::Endpoints).iter().map(|resource| {
        let assignment = ClusterLoadAssignment::decode(resource.body.clone()).unwrap();
        let cluster_name = key(&resource.name);
        let renamed = ClusterLoadAssignment { cluster_name: cluster_name.clone(), ..assignment };
        Resource::new(cluster_name, renamed.encode_to_vec())
    });
    let [clusters, endpoints] =
        [clusters.collect(), endpoints.collect()].map(|layer: Layer| TypedResources::new([layer]));
    set.with(Cluster, clusters).with(ResourceType::Endpoints, endpoints)
}

#[tokio::test]
async fn a_pilot_that_names_endpoints_otherwise_takes_over_without_a_moment_without_them() {
    for flavour in [Flavour::Delta, Flavour::Sotw] {
        let services = [service("api", 20, &[None]), service("web", 2, &[Some("z1")])];
        let mut mesh = Mesh::altered(flavour, &services, with_other_endpoint_names_before, None).await;
        mesh.accepted(4).await;
        let named = mesh.admin("/config_dump?resource=dynamic_active_clusters").await;
        assert!(named.contains("\"service_name\": \"api.g.d.boshy|http\""), "{named}");
        mesh.change(&services);
        let deadline = Instant::now() + DEADLINE;
        loop {
            let clusters = mesh.admin("/clusters").await;
            assert!(clusters.contains("out.api.g.d.boshy|http::10.0.0.20:9000::"), "{flavour:?}: {clusters}");
            let active = mesh.admin("/config_dump?resource=dynamic_active_clusters").await;
            if !active.contains("service_name") {
                break;
            }
            assert!(Instant::now() < deadline, "{flavour:?}: {active}");
        }
        mesh.accepted(4).await;
        let clusters = mesh.admin("/clusters").await;
        assert!(clusters.contains("out.api.g.d.boshy|http::10.0.0.20:9000::"), "{flavour:?}: {clusters}");
    }
}

#[tokio::test]
async fn hundreds_of_services_come_at_once_to_an_envoy_that_runs() {
    let mut mesh = Mesh::start(Flavour::Delta, &[]).await;
    mesh.accepted(1).await;
    let many: Vec<_> = (0..200).map(|index| service(&format!("s{index:03}"), index, &[None])).collect();
    mesh.change(&many);
    mesh.accepted(202).await;
}

#[tokio::test]
async fn what_no_listener_knows_is_disconnected() {
    let mut mesh = Mesh::start(Flavour::Delta, &[service("web", 2, &[None])]).await;
    mesh.accepted(3).await;
    let mut stream = TcpStream::connect(mesh.capture).await.unwrap();
    let mut nothing = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut nothing)).await.expect("the connection is closed");
    assert!(end.is_err() || nothing.is_empty());
}

#[tokio::test]
async fn of_what_envoy_refuses_only_the_culprit_is_withheld() {
    let bad = Arc::new(Resource::new("bad", Listener { name: "bad".into(), ..Listener::default() }.encode_to_vec()));
    let with_bad = move |set: ResourceSet| {
        let mut listeners: ResourceMap =
            set.of(Listeners).iter().map(|resource| (resource.name.clone(), resource.clone())).collect();
        listeners.insert(bad.name.clone(), bad.clone());
        set.with(Listeners, TypedResources::new([Layer::new(listeners)]))
    };
    let mesh = Mesh::altered(Flavour::Delta, &[service("web", 2, &[None])], with_bad, None).await;
    let set = mesh.set.borrow().clone();
    mesh.eventually("Envoy refuses one listener and accepts the others", |ack_states| {
        set.of(Listeners).iter().all(|one| match ack_states.of(Listeners, &one.name, &one.version) {
            AckState::Acked => &*one.name != "bad",
            AckState::Nacked(_) => &*one.name == "bad",
            AckState::Pending => false,
        })
    })
    .await;
}

/// Envoy has acknowledged a resource and does not use it. The difference is found, and sending the resource again
/// repairs it.
async fn what_got_lost_is_found_and_told_again(flavour: Flavour) {
    let web = service("web", 2, &[None]);
    let listener = format!("tcp_{}_9000", web.vip);
    for (kind, name) in [(Listeners, listener.as_str()), (Cluster, "out.web.g.d.boshy|http")] {
        let mesh = Mesh::losing(flavour, std::slice::from_ref(&web), name).await;
        mesh.eventually("Envoy acknowledges", |ack_states| ack_states.acked_version(kind, name).is_some()).await;
        let eventually = async |wanted: &[&str]| {
            let same = async {
                loop {
                    let found = mesh.differences().await;
                    let names: Vec<_> = found.iter().map(|one| &*one.name).collect();
                    if names == wanted {
                        return found;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            match timeout(DEADLINE, same).await {
                Ok(found) => found,
                Err(_) => panic!("{flavour:?}: wanted {wanted:?}, differ {:?}", mesh.differences().await),
            }
        };
        let found = eventually(&[name]).await.remove(0);
        assert_eq!((found.kind, found.found.as_deref()), (kind, None));
        assert!(found.sentence().ends_with(&format!("{name} and does not have it")), "{}", found.sentence());
        mesh.relay.as_ref().unwrap().is_mended();
        mesh.repairs.tell_again(vec![(kind, name.into())]);
        eventually(&[]).await;
    }
}

#[tokio::test]
async fn by_delta_what_got_lost_is_found_and_told_again() {
    what_got_lost_is_found_and_told_again(Flavour::Delta).await;
}

#[tokio::test]
async fn by_state_of_the_world_what_got_lost_is_found_and_told_again() {
    what_got_lost_is_found_and_told_again(Flavour::Sotw).await;
}

#[tokio::test]
async fn the_bootstrap_keeps_the_statistics_that_tell_whether_the_mesh_works() {
    let mut mesh = Mesh::start(Flavour::Delta, &[service("web", 2, &[None])]).await;
    mesh.accepted(3).await;
    let statistics = mesh.admin("/stats").await;
    for kept in [
        "cluster.out.web.g.d.boshy|http.membership_total: 1",
        "control_plane.connected_state: 1",
        "listener_manager.lds.update_rejected: 0",
    ] {
        assert!(statistics.contains(kept), "{kept} is missing in\n{statistics}");
    }
    let of_service = statistics.lines().filter(|line| line.starts_with("cluster.out.")).count();
    assert!(of_service <= 7, "{statistics}");
    let pressure = "overload.envoy.resource_monitors.global_downstream_max_connections.";
    assert!(statistics.contains(pressure), "how near the limit of connections is:\n{statistics}");
}

#[tokio::test]
async fn envoy_tells_the_timeout_of_its_bootstrap() {
    let mut mesh = Mesh::start(Flavour::Delta, &[service("web", 2, &[None])]).await;
    mesh.accepted(3).await;
    assert_eq!(mesh.peer_timeout().await, Some(Duration::from_secs(50)));
}

#[tokio::test]
async fn envoy_answers_monit_over_a_socket_of_its_own() {
    let mut mesh = Mesh::start(Flavour::Delta, &[service("web", 2, &[None])]).await;
    mesh.accepted(3).await;
    let mut stream = UnixStream::connect(mesh.folder.path().join("health.sock")).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
}

#[tokio::test]
async fn envoy_knows_what_the_bootstrap_says_and_does_not_complain() {
    let bootstrap = Bootstrap {
        node: "sidecar~10.0.0.2~x~x".parse().unwrap(),
        ads_socket: "/run/ads.sock".into(),
        admin: Some(AdminAddress::Unix("/run/admin.sock".into())),
        flavour: Flavour::Delta,
        version: version(),
        peer_timeout: Some(PeerTimeout::DEFAULT),
        open_files: 4096,
        health_socket: Some("/run/health.sock".into()),
        tunnel_end: None,
    };
    let text = bootstrap.to_json().to_string();
    let arguments = ["--mode", "validate", "--log-level", "warning", "--config-yaml", &text];
    let output = Command::new(program()).args(arguments).output().await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
