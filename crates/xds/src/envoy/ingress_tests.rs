use std::net::Ipv4Addr;

use boshy_mesh::{
    DocumentKind, DocumentName, MtlsMode, PolicyOfPort, PolicySet, Position, Protocol, RuleOfPort, Source, network,
};
use envoy_types::pb::envoy::{
    config::{
        cluster::v3::Cluster,
        endpoint::v3::lb_endpoint::HostIdentifier,
        listener::v3::{Listener, filter, listener_filter},
    },
    extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier},
};

use super::*;
use crate::{Layer, TypedResources};

const VM: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
const AT: SocketAddr = SocketAddr::new(VM, 9000);

fn all() -> [Ingress; 4] {
    [(Fallback::Open, false), (Fallback::Open, true), (Fallback::Closed, false), (Fallback::Closed, true)]
        .map(|(fallback, original_src)| Ingress { fallback, original_src })
}

fn listener(resource: &Resource) -> Listener {
    Listener::decode(resource.body.clone()).unwrap()
}

fn proxy(listener: &Listener) -> TcpProxy {
    proxy_in(&listener.filter_chains[0].filters[0])
}

fn proxy_in(filter: &Filter) -> TcpProxy {
    let Some(filter::ConfigType::TypedConfig(config)) = &filter.config_type else { panic!("{filter:?}") };
    TcpProxy::decode(&*config.value).unwrap()
}

fn served(listeners: impl IntoIterator<Item = Resource>) -> ResourceSet {
    let layer = listeners.into_iter().collect::<Layer>();
    ResourceSet::default().with(ResourceType::Listener, TypedResources::new([layer]))
}

#[test]
fn what_is_said_about_a_captured_port_is_read_from_its_listener() {
    for ingress in all() {
        let set = served([captured_listener(AT, ingress, None), ingress_listener(VM)]);
        let found: Vec<_> =
            captured_ports(&set).iter().map(|captured| (captured.at.into(), captured.ingress)).collect();
        assert_eq!(found, [(AT, ingress)]);
    }
    let others = [captured_listener(AT, Ingress::default(), None), super::super::inbound_listener(VM, 9001)];
    assert!(captured_ports(&served(others)).is_empty(), "nothing is captured without the bound listener");
}

#[test]
fn a_captured_connection_reaches_the_program_at_the_vms_own_address_without_a_look_at_it() {
    for ingress in all() {
        let listener = listener(&captured_listener(AT, ingress, None));
        assert!(!listener.bind_to_port.unwrap().value);
        let filters: Vec<_> = listener.listener_filters.iter().map(|filter| &*filter.name).collect();
        let wanted: &[&str] = if ingress.original_src { &["envoy.filters.listener.original_src"] } else { &[] };
        assert_eq!(filters, wanted);
        let cluster = captured_cluster(AT);
        assert_eq!(proxy(&listener).cluster_specifier, Some(ClusterSpecifier::Cluster(cluster.name.to_string())));
        let cluster = Cluster::decode(cluster.body).unwrap().load_assignment.unwrap();
        let Some(HostIdentifier::Endpoint(endpoint)) = &cluster.endpoints[0].lb_endpoints[0].host_identifier else {
            panic!("{cluster:?}")
        };
        assert_eq!(address_of(endpoint.address.clone().unwrap()), Some(AT));
    }
}

#[test]
fn a_chain_of_denied_callers_leads_nowhere_and_says_by_which_rule() {
    let position = Position { line: 3, column: 5 };
    let kind = DocumentKind::AuthorizationPolicy;
    let document = DocumentName { config: "net".into(), position, kind, name: "100%".into() };
    let from = vec![Source { ip_blocks: vec![network("10.9.0.0/16").unwrap()], ..Source::default() }];
    let deny = vec![PolicyOfPort { document, rules: vec![RuleOfPort { position, from }] }];
    let rules = Authorization { enforced: PolicySet { deny, allow: Vec::new() }, trial: None };
    let listener = listener(&captured_listener(AT, Ingress::default(), Some(&rules)));
    let [allowed, denied] = &listener.filter_chains[..] else { panic!("{listener:?}") };
    assert_eq!(allowed.filters.len(), 1);
    assert_eq!(proxy_in(&allowed.filters[0]).stat_prefix, "ingress_10.0.0.5_9000");
    let [because, closed] = &denied.filters[..] else { panic!("{denied:?}") };
    assert_eq!(*because, refusals::because("rbac_access_denied_matched_policy[net/100%:3:5]"));
    let closed = proxy_in(closed);
    assert_eq!(closed.stat_prefix, "ingress_10.0.0.5_9000_denied.net/100__3_5");
    assert_eq!(closed.cluster_specifier, Some(ClusterSpecifier::Cluster("nowhere".to_owned())));
    assert_eq!(closed.access_log, refusals::of_captured());
}

#[test]
fn the_mark_of_a_connection_with_the_callers_address_is_the_one_that_the_kernel_knows() {
    let listener = listener(&captured_listener(AT, Ingress { original_src: true, ..Ingress::default() }, None));
    let Some(listener_filter::ConfigType::TypedConfig(config)) = &listener.listener_filters[0].config_type else {
        panic!("{listener:?}")
    };
    let OriginalSrc { mark, bind_port } = OriginalSrc::decode(&*config.value).unwrap();
    assert_eq!((mark, bind_port), (ORIGINAL_SRC_MARK, false));
}

#[test]
fn a_connection_to_the_port_of_captured_connections_itself_leads_nowhere() {
    let listener = listener(&ingress_listener(VM));
    assert_eq!(address_of(listener.address.clone().unwrap()), Some(SocketAddr::new(VM, INGRESS_PORT)));
    assert!(listener.use_original_dst.unwrap().value && listener.bind_to_port.is_none());
    assert_eq!(proxy(&listener).cluster_specifier, Some(ClusterSpecifier::Cluster("nowhere".to_owned())));
}

#[test]
fn only_addresses_of_ipv4_are_captured() {
    let port = |ip: IpAddr| InboundPort {
        at: (ip, 9000).into(),
        protocol: Protocol::Tcp,
        mode: MtlsMode::Disable,
        authorization: None,
        plaintext: None,
        ingress: Some(Ingress::default()),
    };
    assert_eq!(capture_of(&port(VM)), Some(Ingress::default()));
    assert_eq!(capture_of(&port("fd00::5".parse().unwrap())), None);
}
