use boshy_mesh::{MeshRules, NetworkAddress, SnapshotContent, Workload};
use envoy_types::pb::envoy::{
    config::{
        cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
        listener::v3::filter::ConfigType,
    },
    extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier},
};
use prost::Message;

use super::*;
use crate::support::{service, snapshot};

fn build(services: &[Shared<ServicePlan>], previous: Option<&SharedResources>) -> SharedResources {
    SharedResources::build(&snapshot(1, services), previous, CAPTURE)
}

fn names_of(set: &ResourceSet, kind: ResourceType) -> Vec<&str> {
    set.of(kind).iter().map(|resource| &*resource.name).collect()
}

fn read<M: Message + Default>(set: &ResourceSet, kind: ResourceType, name: &str) -> M {
    M::decode(&*set.of(kind).get(name).unwrap().body).unwrap()
}

fn target(listener: &Listener) -> String {
    let Some(ConfigType::TypedConfig(proxy)) = &listener.filter_chains[0].filters[0].config_type else {
        panic!("no tcp_proxy in {listener:?}");
    };
    match TcpProxy::decode(&*proxy.value).unwrap().cluster_specifier {
        Some(ClusterSpecifier::Cluster(cluster)) => cluster,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_is_a_name_a_cluster_endpoints_and_a_listener() {
    let set = build(&[service("web", 2, &[None])], None).for_node(&"router~~x~x".parse().unwrap(), Scope::Plain);
    assert_eq!(names_of(&set, ResourceType::Names), ["web.g.d.boshy"]);
    assert_eq!(names_of(&set, ResourceType::Cluster), ["nowhere", "out.web.g.d.boshy|http"]);
    assert_eq!(names_of(&set, ResourceType::Endpoints), ["out.web.g.d.boshy|http"]);
    assert_eq!(names_of(&set, ResourceType::Listener), ["tcp_169.254.255.2_9000", "virtual"]);

    let listener: Listener = read(&set, ResourceType::Listener, "tcp_169.254.255.2_9000");
    assert_eq!(target(&listener), "out.web.g.d.boshy|http");
    let cluster: Cluster = read(&set, ResourceType::Cluster, "out.web.g.d.boshy|http");
    assert_eq!(cluster.eds_cluster_config.unwrap().service_name, "", "its endpoints have its own name");

    let name = Name::decode(&set.of(ResourceType::Names).get("web.g.d.boshy").unwrap().body).unwrap();
    let clusters = vec!["out.web.g.d.boshy|http".into()];
    let needs = Needs { listeners: vec!["tcp_169.254.255.2_9000".into()], clusters };
    assert_eq!((name.vip.octets()[3], name.needs), (2, Some(Arc::new(needs))));
}

#[test]
fn an_instance_that_is_about_to_stop_is_missing_among_the_endpoints_and_changes_nothing_else() {
    let plan = service("web", 2, &[None, None]);
    let stops = ServicePlan { withdrawn: ["10.0.0.2".to_owned()].into(), ..ServicePlan::clone(&plan) };
    let before = build(&[plan], None);
    let after = build(&[Shared::new(stops)], Some(&before));
    let own = "sidecar~10.0.0.2~x~x".parse().unwrap();
    let (before, after) = (before.for_node(&own, Scope::Plain), after.for_node(&own, Scope::Plain));
    let at = |set: &ResourceSet| {
        let assignment: ClusterLoadAssignment = read(set, ResourceType::Endpoints, "out.web.g.d.boshy|http");
        assignment.endpoints.iter().flat_map(|zone| &zone.lb_endpoints).count()
    };
    assert_eq!((at(&before), at(&after)), (2, 1));
    for kind in [ResourceType::Names, ResourceType::Cluster, ResourceType::Listener] {
        let of = |set: &ResourceSet| set.of(kind).iter().map(|resource| (**resource).clone()).collect::<Vec<_>>();
        assert_eq!(of(&before), of(&after), "{kind:?}");
    }
}

#[test]
fn endpoints_are_grouped_by_zone() {
    let set = build(&[service("web", 2, &[Some("z1"), None, Some("z1")])], None)
        .for_node(&"router~~x~x".parse().unwrap(), Scope::Plain);
    let assignment: ClusterLoadAssignment = read(&set, ResourceType::Endpoints, "out.web.g.d.boshy|http");
    let zones: Vec<_> = assignment
        .endpoints
        .iter()
        .map(|group| (group.locality.as_ref().map(|locality| locality.zone.as_str()), group.lb_endpoints.len()))
        .collect();
    assert_eq!(zones, [(None, 1), (Some("z1"), 2)]);
}

#[test]
fn only_a_node_that_hosts_a_service_has_an_inbound_part_and_the_rest_is_shared() {
    let shared = build(&[service("web", 2, &[None]), service("api", 2, &[None])], None);
    let host = shared.for_node(&"sidecar~10.0.0.2~x~x".parse().unwrap(), Scope::Plain);
    let other = shared.for_node(&"sidecar~10.0.0.99~x~x".parse().unwrap(), Scope::Plain);
    let only_here = |kind| -> Vec<String> {
        let resources = host.of(kind).iter().filter(|resource| other.of(kind).get(&resource.name).is_none());
        resources.map(|resource| resource.name.to_string()).collect()
    };
    assert_eq!(only_here(ResourceType::Cluster), ["in.9000"]);
    assert_eq!(only_here(ResourceType::Listener), ["tcp_10.0.0.2_9000"]);
    assert_eq!(host.of(ResourceType::Endpoints), other.of(ResourceType::Endpoints));
    let (here, there) = (host.of(ResourceType::Cluster), other.of(ResourceType::Cluster));
    assert!(Arc::ptr_eq(here.get("nowhere").unwrap(), there.get("nowhere").unwrap()));

    let listener: Listener = read(&host, ResourceType::Listener, "tcp_10.0.0.2_9000");
    assert_eq!(target(&listener), "in.9000");
}

#[test]
fn a_workload_is_found_at_each_of_its_addresses_and_its_part_is_encoded_once() {
    let plan = service("web", 2, &[None]);
    let mut workload = Workload::clone(&plan.service.endpoints[0].workload);
    let second: IpAddr = "10.9.0.2".parse().unwrap();
    workload.addresses.push(NetworkAddress { address: second.into(), network: Some("other".into()) });
    let workload = Shared::new(workload);
    let mut plan = ServicePlan::clone(&plan);
    plan.service.endpoints[0].workload = workload.clone();
    let plan = Shared::new(plan);
    let content = |services: &[_]| {
        SnapshotContent::join(services.to_vec(), [workload.clone()], &MeshRules::default(), &SnapshotContent::default())
    };
    let snapshot =
        |generation, services: &[_]| MeshSnapshot { generation, content: content(services), ..MeshSnapshot::default() };
    let before = SharedResources::build(&snapshot(1, std::slice::from_ref(&plan)), None, CAPTURE);
    let after = SharedResources::build(&snapshot(2, &[service("api", 9, &[]), plan]), Some(&before), CAPTURE);
    let listeners = ["sidecar~10.0.0.2~x~x", "sidecar~10.9.0.2~y~y"].into_iter().flat_map(|node| {
        [&before, &after].map(|shared| {
            let set = shared.for_node(&node.parse().unwrap(), Scope::Plain);
            Arc::clone(set.of(ResourceType::Listener).get("tcp_10.0.0.2_9000").unwrap())
        })
    });
    let listeners: Vec<_> = listeners.collect();
    assert!(listeners.iter().all(|listener| Arc::ptr_eq(listener, &listeners[0])));
}

#[test]
fn an_unchanged_service_is_not_encoded_again_and_unchanged_types_keep_their_version() {
    let before = build(&[service("api", 3, &[None]), service("web", 2, &[None])], None);
    let after = build(&[service("api", 3, &[None, None]), service("web", 2, &[None])], Some(&before));
    let kept =
        |kind, name| Arc::ptr_eq(before.mesh.of(kind).get(name).unwrap(), after.mesh.of(kind).get(name).unwrap());
    assert!(kept(ResourceType::Endpoints, "out.web.g.d.boshy|http"));
    assert!(!kept(ResourceType::Endpoints, "out.api.g.d.boshy|http"));
    for kind in [ResourceType::Names, ResourceType::Cluster, ResourceType::Listener] {
        assert_eq!(before.mesh.of(kind).version(), after.mesh.of(kind).version());
    }
    assert_ne!(before.mesh.of(ResourceType::Endpoints).version(), after.mesh.of(ResourceType::Endpoints).version());
}

#[test]
fn two_builds_of_equal_content_have_equal_versions() {
    let services = [service("api", 3, &[Some("z1"), None]), service("web", 2, &[None])];
    assert_eq!(build(&services, None).mesh, build(&services, None).mesh);
}

#[test]
fn before_the_director_was_read_nothing_is_known_and_nothing_is_served_as_empty() {
    let unknown = SharedResources::build(&MeshSnapshot::default(), None, CAPTURE);
    let set = unknown.for_node(&"sidecar~10.0.0.2~x~x".parse().unwrap(), Scope::Plain);
    assert!(ResourceType::ALL.iter().all(|kind| !set.of(*kind).is_known()));
}

#[test]
fn no_connection_is_one_too_many_or_too_old() {
    let set =
        build(&[service("web", 2, &[None])], None).for_node(&"sidecar~10.0.0.2~x~x".parse().unwrap(), Scope::Plain);
    for (name, kind) in [("out.web.g.d.boshy|http", ResourceType::Cluster), ("in.9000", ResourceType::Cluster)] {
        let cluster: Cluster = read(&set, kind, name);
        let thresholds = cluster.circuit_breakers.unwrap().thresholds.remove(0);
        let limits = [thresholds.max_connections, thresholds.max_pending_requests];
        assert!(limits.iter().all(|limit| limit.as_ref().unwrap().value == u32::MAX), "{name}: {thresholds:?}");
    }
    for name in names_of(&set, ResourceType::Listener) {
        let listener: Listener = read(&set, ResourceType::Listener, name);
        let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type else {
            panic!("{listener:?}")
        };
        let proxy = TcpProxy::decode(&*any.value).unwrap();
        let none = proxy.idle_timeout.unwrap();
        assert_eq!((none.seconds, none.nanos), (0, 0), "{name}");
        // SO_KEEPALIVE on the accepting listener.
        assert_eq!(
            listener.socket_options.iter().any(|option| (option.level, option.name) == (1, 9)),
            name == "virtual"
        );
    }
}
