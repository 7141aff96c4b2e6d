//! What a tunnelled service and its instances are rendered to, in both scopes.

use std::{collections::BTreeSet, sync::Arc};

use boshy_mesh::{InboundPort, MeshRules, MtlsMode, MtlsRules, Protocol, SnapshotContent, Tunnel};
use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::Cluster,
            core::v3::{HeaderValue, header_value_option::HeaderAppendAction},
            endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier},
            listener::v3::{Listener, filter::ConfigType},
            route::v3::{Route, RouteAction, RouteConfiguration, route::Action, route_action::ClusterSpecifier},
        },
        extensions::{
            filters::network::{
                http_connection_manager::v3::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
                tcp_proxy::v3::TcpProxy,
            },
            transport_sockets::tls::v3::{
                CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext, common_tls_context::ValidationContextType,
                downstream_tls_context::SessionTicketKeysType, tls_parameters::TlsProtocol,
            },
            upstreams::http::v3::{
                HttpProtocolOptions,
                http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig},
            },
        },
    },
    google::protobuf::Duration,
};
use prost::Message;

use super::*;
use crate::{strict_ports, support::service};

const VM: &str = "sidecar~10.0.0.2~x~x";
const ELSEWHERE: &str = "sidecar~10.0.0.99~x~x";

/// The mesh of one service `web` with an instance at 10.0.0.2, whose port 9000 has this mode.
fn mesh(mode: MtlsMode) -> SharedResources {
    let domain = TrustDomain::default();
    let tunnel = (mode != MtlsMode::Disable).then(|| Tunnel {
        domain: domain.clone(),
        ports: [9000].into(),
        strict: if mode == MtlsMode::Strict { [9000].into() } else { [].into() },
    });
    let plan = service("web", 2, &[None]);
    let workload = Shared::new(boshy_mesh::Workload {
        id: "8f6b5b0e-7a5e-4d57-9c0b-2f3a6e1d4c21".into(),
        ..boshy_mesh::Workload::clone(&plan.service.endpoints[0].workload)
    });
    let mut plan = ServicePlan { tunnel, ..ServicePlan::clone(&plan) };
    plan.service.endpoints[0].workload = workload.clone();
    let rules = MtlsRules::new(domain, mode);
    let rules = MeshRules { mtls: Some(rules), ..MeshRules::default() };
    let content = SnapshotContent::join(vec![Shared::new(plan)], [workload], &rules, &SnapshotContent::default());
    SharedResources::build(&MeshSnapshot { generation: 1, content, ..MeshSnapshot::default() }, None, CAPTURE)
}

fn set(mode: MtlsMode, node: &str, scope: Scope) -> ResourceSet {
    mesh(mode).for_node(&node.parse().unwrap(), scope)
}

fn names_of(set: &ResourceSet, kind: ResourceType) -> Vec<&str> {
    let mut names: Vec<_> = set.of(kind).iter().map(|resource| &*resource.name).collect();
    names.sort_unstable();
    names
}

fn read<M: Message + Default>(set: &ResourceSet, kind: ResourceType, name: &str) -> M {
    M::decode(&*set.of(kind).get(name).unwrap_or_else(|| panic!("no {name}")).body).unwrap()
}

fn needs(set: &ResourceSet) -> (Vec<String>, Vec<String>) {
    let name = Name::decode(&set.of(ResourceType::Names).get("web.g.d.boshy").unwrap().body).unwrap();
    let needs = name.needs.unwrap();
    (
        needs.listeners.iter().map(ToString::to_string).collect(),
        needs.clusters.iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn nothing_differs_between_the_scopes_while_nothing_is_encrypted() {
    let mesh = mesh(MtlsMode::Disable);
    let [certified, plain] = [Scope::Certified, Scope::Plain].map(|scope| mesh.for_node(&VM.parse().unwrap(), scope));
    assert_eq!(certified, plain);
    assert!(certified.of(ResourceType::Route).is_known() && certified.of(ResourceType::Route).is_empty());
    assert_eq!(names_of(&certified, ResourceType::Cluster), ["in.9000", "nowhere", "out.web.g.d.boshy|http"]);
}

#[test]
fn a_caller_with_a_certificate_reaches_a_service_through_tunnels() {
    for mode in [MtlsMode::Permissive, MtlsMode::Strict] {
        let set = set(mode, ELSEWHERE, Scope::Certified);
        assert_eq!(names_of(&set, ResourceType::Cluster), ["mtls.web.g.d.boshy|http", "nowhere"]);
        assert_eq!(names_of(&set, ResourceType::Endpoints), ["mtls.web.g.d.boshy|http"]);
        assert_eq!(names_of(&set, ResourceType::Listener), ["tcp_169.254.255.2_9000", "virtual"]);
        let needed = (vec!["tcp_169.254.255.2_9000".to_owned()], vec!["mtls.web.g.d.boshy|http".to_owned()]);
        assert_eq!(needs(&set), needed);

        let assignment: ClusterLoadAssignment = read(&set, ResourceType::Endpoints, "mtls.web.g.d.boshy|http");
        let Some(HostIdentifier::Endpoint(endpoint)) = &assignment.endpoints[0].lb_endpoints[0].host_identifier else {
            panic!("{assignment:?}")
        };
        assert_eq!(endpoint.hostname, "8f6b5b0e-7a5e-4d57-9c0b-2f3a6e1d4c21.boshy");
        let listener: Listener = read(&set, ResourceType::Listener, "tcp_169.254.255.2_9000");
        assert_eq!(tcp_proxy(&listener).tunneling_config.unwrap().hostname, "web.g.d.boshy:9000");
    }
}

#[test]
fn a_caller_without_a_certificate_reaches_what_accepts_plaintext_and_no_other() {
    let plain = set(MtlsMode::Permissive, ELSEWHERE, Scope::Plain);
    let direct = set(MtlsMode::Disable, ELSEWHERE, Scope::Plain);
    for kind in ResourceType::ALL {
        assert_eq!(names_of(&plain, kind), names_of(&direct, kind));
        assert!(direct.of(kind).iter().all(|one| plain.of(kind).get(&one.name) == Some(one)), "{kind:?}");
    }
    let plain = set(MtlsMode::Strict, ELSEWHERE, Scope::Plain);
    assert_eq!(names_of(&plain, ResourceType::Cluster), ["nowhere"]);
    assert_eq!(names_of(&plain, ResourceType::Listener), ["virtual"]);
    assert_eq!(names_of(&plain, ResourceType::Names), ["web.g.d.boshy"]);
    assert_eq!(needs(&plain), (vec![], vec![]), "a name that needs nothing is not answered");
}

#[test]
fn a_vm_accepts_tunnels_when_it_has_a_certificate_and_always_knows_what_it_must_keep_others_out_of() {
    let certified = set(MtlsMode::Strict, VM, Scope::Certified);
    let plain = set(MtlsMode::Strict, VM, Scope::Plain);
    assert!(certified.of(ResourceType::Listener).get("mesh_10.0.0.2").is_some());
    assert!(plain.of(ResourceType::Listener).get("mesh_10.0.0.2").is_none());
    let strict: BTreeSet<SocketAddr> = ["10.0.0.2:9000".parse().unwrap()].into();
    assert_eq!([strict_ports(&certified), strict_ports(&plain)], [strict.clone(), strict]);
    for (mode, node) in [(MtlsMode::Permissive, VM), (MtlsMode::Disable, VM), (MtlsMode::Strict, ELSEWHERE)] {
        assert!(strict_ports(&set(mode, node, Scope::Certified)).is_empty(), "{mode:?} {node}");
    }
}

#[test]
fn the_listener_of_a_vm_does_not_change_with_its_ports_and_modes() {
    let listener = |mode| {
        let set = set(mode, VM, Scope::Certified);
        Arc::clone(set.of(ResourceType::Listener).get("mesh_10.0.0.2").unwrap())
    };
    assert_eq!(listener(MtlsMode::Permissive), listener(MtlsMode::Strict));
    let port = |number, mode| InboundPort {
        at: (VM_IP, number).into(),
        protocol: Protocol::Tcp,
        mode,
        authorization: None,
        plaintext: None,
        ingress: None,
    };
    let (one, other) = (port(9000, MtlsMode::Strict), port(9001, MtlsMode::Permissive));
    let routes = envoy::mesh_routes(VM_IP, &[&one, &other]);
    let routes = RouteConfiguration::decode(routes.body).unwrap();
    let domains: Vec<_> = routes.virtual_hosts.iter().flat_map(|host| &host.domains).collect();
    assert_eq!(domains, ["*:9000", "*:9001"]);
}

const VM_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

#[test]
fn equal_rules_have_equal_versions() {
    let versions = || {
        let set = set(MtlsMode::Strict, VM, Scope::Certified);
        ResourceType::ALL.map(|kind| set.of(kind).version().clone())
    };
    let first = versions();
    assert!((0..20).all(|_| versions() == first));
}

#[test]
fn no_tunnel_is_one_too_many_or_too_idle() {
    let set = set(MtlsMode::Strict, VM, Scope::Certified);
    let cluster: Cluster = read(&set, ResourceType::Cluster, "mtls.web.g.d.boshy|http");
    let thresholds = cluster.circuit_breakers.unwrap().thresholds.remove(0);
    for limit in [thresholds.max_connections, thresholds.max_pending_requests, thresholds.max_requests] {
        assert_eq!(limit.unwrap().value, u32::MAX);
    }
    let options = cluster.typed_extension_protocol_options.values().next().unwrap();
    let options = HttpProtocolOptions::decode(&*options.value).unwrap();
    let life = options.common_http_protocol_options.unwrap().max_connection_duration.unwrap();
    assert_eq!(life.seconds, 3600);
    let Some(UpstreamProtocolOptions::ExplicitHttpConfig(http)) = options.upstream_protocol_options else { panic!() };
    let Some(ProtocolConfig::Http2ProtocolOptions(caller)) = http.protocol_config else { panic!() };

    let manager = manager(&set);
    assert_eq!(manager.stream_idle_timeout, Some(Duration::default()));
    let instance = manager.http2_protocol_options.unwrap();
    for (end, window) in [(caller, 4 << 20), (instance, 256 << 10)] {
        let streams = end.max_concurrent_streams.unwrap().value;
        let windows = [end.initial_stream_window_size, end.initial_connection_window_size];
        let [stream, connection] = windows.map(|window| window.unwrap().value);
        assert_eq!(stream, window);
        assert_eq!(streams * stream, connection, "a connection holds what its tunnels may hold");
    }
    let routes: RouteConfiguration = read(&set, ResourceType::Route, "mesh_10.0.0.2");
    for route in &routes.virtual_hosts[0].routes {
        assert_eq!(action(route).timeout, Some(Duration::default()));
    }
}

#[test]
fn an_envoy_that_has_a_tunnel_end_leaves_the_program_to_it_and_any_other_connects_itself() {
    let set = set(MtlsMode::Strict, VM, Scope::Certified);
    let routes: RouteConfiguration = read(&set, ResourceType::Route, "mesh_10.0.0.2");
    let [first, second] = &routes.virtual_hosts[0].routes[..] else { panic!("{routes:?}") };

    let only_with = first.r#match.as_ref().unwrap().runtime_fraction.as_ref().unwrap();
    assert_eq!((&*only_with.runtime_key, only_with.default_value.unwrap().numerator), ("boshy.tunnel_end", 0));
    assert_eq!(action(first).cluster_specifier, Some(ClusterSpecifier::Cluster("programs".into())));
    assert!(action(first).upgrade_configs[0].connect_config.is_none());
    let [header] = &first.request_headers_to_add[..] else { panic!("{first:?}") };
    // Whatever the caller says.
    assert_eq!(header.append_action, i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd));
    let HeaderValue { key, value, .. } = header.header.as_ref().unwrap();
    assert_eq!((&**key, &**value), ("x-boshy-program", "10.0.0.2:9000"));

    assert!(second.r#match.as_ref().unwrap().runtime_fraction.is_none());
    assert_eq!(action(second).cluster_specifier, Some(ClusterSpecifier::Cluster("mesh_10.0.0.2_9000".into())));
    assert!(action(second).upgrade_configs[0].connect_config.is_some());
    let rules = |route: &Route| (route.typed_per_filter_config.clone(), route.metadata.clone());
    assert!(!first.typed_per_filter_config.is_empty() && rules(first) == rules(second));
}

fn action(route: &Route) -> &RouteAction {
    let Some(Action::Route(action)) = &route.action else { panic!("{route:?}") };
    action
}

#[test]
fn both_ends_show_certificates_over_tls_1_3_and_resume_no_session() {
    let set = set(MtlsMode::Strict, VM, Scope::Certified);
    let cluster: Cluster = read(&set, ResourceType::Cluster, "mtls.web.g.d.boshy|http");
    let caller: UpstreamTlsContext = tls(cluster.transport_socket.unwrap());
    assert!(caller.auto_host_sni && caller.auto_sni_san_validation && caller.sni.is_empty());
    let listener: Listener = read(&set, ResourceType::Listener, "mesh_10.0.0.2");
    let chain = &listener.filter_chains[0];
    assert_eq!(chain.transport_socket_connect_timeout, Some(Duration { seconds: 5, nanos: 0 }));
    let instance: DownstreamTlsContext = tls(chain.transport_socket.clone().unwrap());
    assert!(instance.require_client_certificate.unwrap().value && instance.disable_stateful_session_resumption);
    let no_tickets = Some(SessionTicketKeysType::DisableStatelessSessionResumption(true));
    assert_eq!(instance.session_ticket_keys_type, no_tickets);
    for end in [caller.common_tls_context.unwrap(), instance.common_tls_context.unwrap()] {
        is_of_the_mesh(end);
    }
    let Some(RouteSpecifier::Rds(rds)) = manager(&set).route_specifier else { panic!() };
    assert_eq!(rds.route_config_name, "mesh_10.0.0.2");
    assert_eq!(rds.config_source.unwrap().initial_fetch_timeout.unwrap().seconds, 1);
}

fn is_of_the_mesh(end: CommonTlsContext) {
    let (params, only) = (end.tls_params.unwrap(), i32::from(TlsProtocol::TlSv13));
    assert_eq!([params.tls_minimum_protocol_version, params.tls_maximum_protocol_version], [only; 2]);
    assert_eq!(end.alpn_protocols, ["h2"]);
    let Some(ValidationContextType::ValidationContextSdsSecretConfig(roots)) = end.validation_context_type else {
        panic!("no roots")
    };
    for (secret, name) in [(&end.tls_certificate_sds_secret_configs[0], "default"), (&roots, "ROOTCA")] {
        assert_eq!(secret.name, name);
        assert_eq!(secret.sds_config.as_ref().unwrap().initial_fetch_timeout.unwrap().seconds, 1);
    }
}

fn manager(set: &ResourceSet) -> HttpConnectionManager {
    let listener: Listener = read(set, ResourceType::Listener, "mesh_10.0.0.2");
    let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type else { panic!() };
    HttpConnectionManager::decode(&*any.value).unwrap()
}

fn tcp_proxy(listener: &Listener) -> TcpProxy {
    let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type else { panic!() };
    TcpProxy::decode(&*any.value).unwrap()
}

fn tls<M: Message + Default>(socket: envoy_types::pb::envoy::config::core::v3::TransportSocket) -> M {
    let Some(envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType::TypedConfig(any)) =
        socket.config_type
    else {
        panic!("no TLS")
    };
    M::decode(&*any.value).unwrap()
}
