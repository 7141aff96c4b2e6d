//! Compares bodies byte by byte, for the deployment in the README of the API.

use std::net::Ipv4Addr;

use boshy_mesh::{
    Address, Endpoint, Hostname, MeshRules, MeshSnapshot, NetworkAddress, NodeId, Origin, Port, PortName, Protocol,
    Service, ServicePlan, Shared, SnapshotContent, Tld, Workload,
};

use super::*;

fn port(name: &str, number: u16) -> Port {
    Port { name: PortName::new(name).unwrap(), number, protocol: Protocol::Tcp, ingress: None }
}

fn exposed(group: &str, vip: u8, ports: Vec<Port>, endpoints: &[(&str, Option<&str>)]) -> Shared<ServicePlan> {
    let (job, deployment) = ("example-httpbin", "sample-deployment");
    let host = Hostname::of_service(job, group, deployment, &Tld::default()).unwrap();
    let origin = Origin { deployment: deployment.into(), group: group.into(), job: job.into() };
    let endpoint = |(ip, az): &(&str, Option<&str>)| Endpoint { ip: ip.parse().unwrap(), workload: workload(ip, *az) };
    let endpoints = endpoints.iter().map(endpoint).collect();
    Shared::new(ServicePlan {
        service: Service { host, origin, ports, endpoints },
        vip: Ipv4Addr::new(169, 254, 255, vip),
        tunnel: None,
        withdrawn: Default::default(),
    })
}

fn workload(ip: &str, az: Option<&str>) -> Shared<Workload> {
    let addresses = vec![NetworkAddress { address: Address::parse(ip).unwrap(), network: None }];
    Shared::new(Workload { id: ip.into(), addresses, az: az.map(str::to_owned), ..Workload::default() })
}

fn snapshot(services: Vec<Shared<ServicePlan>>) -> MeshSnapshot {
    let endpoints = services.iter().flat_map(|plan| &plan.service.endpoints);
    let mut workloads: Vec<_> = endpoints.map(|endpoint| endpoint.workload.clone()).collect();
    workloads.push(workload("10.244.0.9", Some("z9")));
    let content = SnapshotContent::join(services, workloads, &MeshRules::default(), &SnapshotContent::default());
    MeshSnapshot { generation: 1, hash: "0".into(), content }
}

fn sample() -> MeshSnapshot {
    let apricots: Vec<String> = (126..=130).map(|last| format!("10.244.0.{last}")).collect();
    let apricots: Vec<(&str, Option<&str>)> = apricots.iter().map(|ip| (ip.as_str(), Some("z1"))).collect();
    let bananas = [("10.244.0.131", Some("z1")), ("10.244.0.132", Some("z2")), ("10.244.0.133", None)];
    snapshot(vec![
        exposed("apricot", 1, vec![port("some-port", 9001)], &apricots),
        exposed("banana", 2, vec![port("other-http", 9002)], &bananas),
    ])
}

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

fn text(document: &Document) -> &str {
    std::str::from_utf8(&document.body).unwrap()
}

#[test]
fn lds_of_a_sidecar_with_a_workload() {
    let document = listeners(&sample(), &node("sidecar~10.244.0.131~x~x"));
    assert_eq!(text(&document), include_str!("golden/lds-sidecar.json"));
    assert_eq!(document.resources, 4);
}

#[test]
fn lds_of_an_address_that_hosts_nothing_has_no_inbound_part() {
    let document = listeners(&sample(), &node("sidecar~10.244.0.77~x~x"));
    assert_eq!(document.resources, 3);
    assert!(!text(&document).contains("\"in."));
}

#[test]
fn lds_of_a_router_binds_one_listener_per_port_for_the_first_service_by_name() {
    let two_on_one_port = snapshot(vec![
        exposed("apricot", 1, vec![port("a", 9001)], &[]),
        exposed("banana", 2, vec![port("b", 9001), port("c", 80)], &[]),
    ]);
    let document = listeners(&two_on_one_port, &node("router~~~"));
    assert_eq!(text(&document), include_str!("golden/lds-router.json"));
    assert_eq!(document.resources, 2);
}

#[test]
fn lds_of_an_ingress_is_one_http_listener() {
    let document = listeners(&sample(), &node("ingress~~~"));
    assert_eq!(text(&document), include_str!("golden/lds-ingress.json"));
    assert_eq!(document.resources, 1);
}

#[test]
fn lds_sorts_addresses_bytewise_with_every_port_of_a_service() {
    let multi = snapshot(vec![exposed(
        "apricot",
        1,
        vec![port("web", 80), port("tls", 443)],
        &[("10.244.0.126", None), ("9.0.0.1", None)],
    )]);
    let document = listeners(&multi, &node("sidecar~9.0.0.1~x~x"));
    let addresses: Vec<&str> = text(&document)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"address\": \"")?.strip_suffix("\","))
        .collect();
    assert_eq!(
        addresses,
        [
            "tcp://0.0.0.0:15001",
            "tcp://169.254.255.1:443",
            "tcp://169.254.255.1:80",
            "tcp://9.0.0.1:443",
            "tcp://9.0.0.1:80"
        ]
    );
}

#[test]
fn two_services_on_one_vm_and_port_number_share_one_inbound_listener() {
    let shared = snapshot(vec![
        exposed("apricot", 1, vec![port("a", 80)], &[("10.0.0.1", None)]),
        exposed("banana", 2, vec![port("b", 80)], &[("10.0.0.1", None)]),
    ]);
    let node = node("sidecar~10.0.0.1~x~x");
    assert_eq!(listeners(&shared, &node).resources, 4);
    assert_eq!(clusters(&shared, &node).resources, 3);
}

#[test]
fn cds_of_a_sidecar_with_a_workload() {
    let document = clusters(&sample(), &node("sidecar~10.244.0.131~x~x"));
    assert_eq!(text(&document), include_str!("golden/cds-sidecar.json"));
    assert_eq!(document.resources, 3);
}

#[test]
fn cds_of_a_router_has_only_outbound_clusters_and_an_ingress_none() {
    let router = clusters(&sample(), &node("router~10.244.0.131~x~x"));
    assert_eq!(router.resources, 2);
    assert!(!text(&router).contains("\"in.9002"));
    let ingress = clusters(&sample(), &node("ingress~10.244.0.131~x~x"));
    assert_eq!((text(&ingress), ingress.resources), ("{\n  \"clusters\": []\n }", 0));
}

#[test]
fn sds_of_a_service_key() {
    let document = service(&sample(), "example-httpbin.banana.sample-deployment.boshy|other-http");
    assert_eq!(text(&document), include_str!("golden/sds.json"));
    assert_eq!(document.resources, 3);
}

#[test]
fn sds_takes_several_ports_and_ignores_an_empty_label_part() {
    let multi = snapshot(vec![exposed(
        "apricot",
        1,
        vec![port("web", 80), port("tls", 443), port("admin", 8000)],
        &[("10.244.0.126", None), ("10.244.0.127", None)],
    )]);
    let document = service(&multi, "example-httpbin.apricot.sample-deployment.boshy|tls,web|");
    let ports: Vec<&str> = text(&document).lines().filter_map(|line| line.trim().strip_prefix("\"port\": ")).collect();
    assert_eq!(ports, ["80", "443", "80", "443"]);
}

#[test]
fn sds_of_what_is_unknown_is_empty() {
    let known = "example-httpbin.banana.sample-deployment.boshy";
    for key in [
        String::new(),
        "nobody.boshy|other-http".into(),
        known.into(),
        format!("{known}|"),
        format!("{known}|nothing"),
        format!("{known}|OTHER-HTTP"),
        format!("{known}|other-http|version=1"),
    ] {
        let document = service(&sample(), &key);
        assert_eq!((text(&document), document.resources), ("{\n  \"hosts\": []\n }", 0), "{key}");
    }
}

#[test]
fn registration_of_two_services() {
    let document = registration(&sample());
    assert_eq!(text(&document), include_str!("golden/registration.json"));
    assert_eq!(document.resources, 2);
}

#[test]
fn registration_sorts_by_key_and_not_by_port_order() {
    let multi = snapshot(vec![exposed("apricot", 1, vec![port("web", 80), port("admin", 81)], &[])]);
    let document = registration(&multi);
    let admin = text(&document).find("|admin").unwrap();
    assert!(admin < text(&document).find("|web").unwrap());
    assert!(text(&document).contains("\"hosts\": []"));
}

#[test]
fn an_empty_mesh_is_no_error() {
    let empty = MeshSnapshot::default();
    assert_eq!(text(&registration(&empty)), "[]");
    let sidecar = node("sidecar~10.0.0.1~x~x");
    assert_eq!(text(&listeners(&empty, &sidecar)), include_str!("golden/lds-empty.json"));
    assert_eq!(text(&clusters(&empty, &sidecar)), "{\n  \"clusters\": []\n }");
    assert_eq!(listeners(&empty, &node("router~~~")).resources, 0);
}

#[test]
fn rds_has_no_virtual_hosts_under_any_number() {
    for name in ["9002", "0", "-1", "+80", "http_proxy"] {
        let document = routes(name).unwrap();
        assert_eq!((text(&document), document.resources), ("{\n  \"virtual_hosts\": []\n }", 0), "{name}");
    }
}

#[test]
fn rds_refuses_other_names_in_the_words_of_the_api() {
    let refusal = |name| routes(name).unwrap_err().to_string();
    assert_eq!(refusal("foo"), r#"strconv.Atoi: parsing "foo": invalid syntax"#);
    assert_eq!(refusal("8 0"), r#"strconv.Atoi: parsing "8 0": invalid syntax"#);
    assert_eq!(refusal("9223372036854775808"), r#"strconv.Atoi: parsing "9223372036854775808": value out of range"#);
}

#[test]
fn the_zone_is_that_of_the_vm_exposing_or_not() {
    let zone = |id| availability_zone(&sample(), &node(id)).map(|document| text(&document).to_owned());
    assert_eq!(zone("sidecar~10.244.0.131~x~x").unwrap(), "z1");
    assert_eq!(zone("sidecar~10.244.0.9~x~x").unwrap(), "z9");
    assert_eq!(zone("router~10.244.0.132~x~x").unwrap(), "z2");
    assert_eq!(zone("sidecar~10.244.0.133~x~x").unwrap(), "");
    for unknown in ["sidecar~10.244.0.1~x~x", "ingress~~~"] {
        assert_eq!(zone(unknown).unwrap_err().to_string(), "couldn't find the given cluster node");
    }
}

#[test]
fn an_instance_that_is_about_to_stop_is_in_no_document_of_endpoints() {
    let ips = [("10.244.0.131", None), ("10.244.0.132", None)];
    let plan = exposed("banana", 2, vec![port("http", 9002)], &ips);
    let stops = ServicePlan { withdrawn: ["10.244.0.131".to_owned()].into(), ..ServicePlan::clone(&plan) };
    let mesh = snapshot(vec![Shared::new(stops)]);
    for document in [service(&mesh, "example-httpbin.banana.sample-deployment.boshy|http"), registration(&mesh)] {
        assert!(text(&document).contains("10.244.0.132") && !text(&document).contains("10.244.0.131"));
    }
}
