//! Small meshes for tests.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use boshy_mesh::{
    Endpoint, Hostname, MeshSnapshot, Origin, Port, PortName, Protocol, Service, ServicePlan, SnapshotContent, Tld,
};

/// A service `NAME.g.d.boshy` at 169.254.255.`vip`, with port 9000 and one instance per zone at 10.0.0.`vip`+i.
pub(crate) fn service(name: &str, vip: u8, zones: &[Option<&str>]) -> Arc<ServicePlan> {
    let endpoint = |(index, zone): (u8, &Option<&str>)| Endpoint {
        ip: IpAddr::from([10, 0, 0, vip + index]),
        az: zone.map(str::to_owned),
    };
    Arc::new(ServicePlan {
        service: Service {
            host: Hostname::of_service(name, "g", "d", &Tld::default()).unwrap(),
            origin: Origin { deployment: "d".into(), group: "g".into(), job: name.into() },
            ports: vec![Port { name: PortName::new("http").unwrap(), number: 9000, protocol: Protocol::Tcp }],
            endpoints: (0..).zip(zones).map(endpoint).collect(),
        },
        vip: Ipv4Addr::new(169, 254, 255, vip),
    })
}

/// A snapshot of these services.
pub(crate) fn snapshot(generation: u64, services: &[Arc<ServicePlan>]) -> MeshSnapshot {
    MeshSnapshot {
        generation,
        hash: String::new(),
        content: SnapshotContent { services: services.to_vec(), zones: BTreeMap::new() },
    }
}
