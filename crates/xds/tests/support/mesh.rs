//! Small meshes for tests.

use std::net::{IpAddr, Ipv4Addr};

use boshy_mesh::{
    Endpoint, Hostname, MeshRules, MeshSnapshot, NetworkAddress, Origin, Port, PortName, Protocol, Service,
    ServicePlan, Shared, SnapshotContent, Tld, Workload,
};

/// A service `NAME.g.d.boshy` at 169.254.255.`vip`, with port 9000 and one instance per zone at 10.0.0.`vip`+i.
pub(crate) fn service(name: &str, vip: u8, zones: &[Option<&str>]) -> Shared<ServicePlan> {
    let instance = |(index, zone): (u8, &Option<&str>)| endpoint(IpAddr::from([10, 0, 0, vip + index]), *zone);
    Shared::new(ServicePlan {
        service: Service {
            host: Hostname::of_service(name, "g", "d", &Tld::default()).unwrap(),
            origin: Origin { deployment: "d".into(), group: "g".into(), job: name.into() },
            ports: vec![Port {
                name: PortName::new("http").unwrap(),
                number: 9000,
                protocol: Protocol::Tcp,
                ingress: None,
            }],
            endpoints: (0..).zip(zones).map(instance).collect(),
        },
        vip: Ipv4Addr::new(169, 254, 255, vip),
        tunnel: None,
        withdrawn: Default::default(),
    })
}

/// An endpoint on a VM with one address.
pub(crate) fn endpoint(ip: IpAddr, zone: Option<&str>) -> Endpoint {
    let workload = Workload {
        id: ip.to_string(),
        addresses: vec![NetworkAddress { address: ip.into(), network: None }],
        az: zone.map(str::to_owned),
        ..Workload::default()
    };
    Endpoint { ip, workload: Shared::new(workload) }
}

/// A snapshot of these services and of the VMs behind them.
pub(crate) fn snapshot(generation: u64, services: &[Shared<ServicePlan>]) -> MeshSnapshot {
    let workloads = services.iter().flat_map(|plan| &plan.service.endpoints).map(|endpoint| endpoint.workload.clone());
    let content =
        SnapshotContent::join(services.to_vec(), workloads, &MeshRules::default(), &SnapshotContent::default());
    MeshSnapshot { generation, hash: String::new(), content }
}
