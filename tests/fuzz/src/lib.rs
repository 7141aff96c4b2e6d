//! Shared by several fuzz targets: cutting an input into pieces, a small mesh, and the invariants of a job.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    panic,
    path::{Component, Path},
};

use boshy_lab_director::release::JobSpec;
use boshy_mesh::{
    Endpoint, Hostname, MeshRules, MeshSnapshot, NameTable, NetworkAddress, Origin, Port, PortName, Protocol, Service,
    ServicePlan, Shared, SnapshotContent, Tld, Workload,
};

/// Ignores panics of the YAML library, which its only caller catches and returns as an error. Every other panic is a
/// finding.
///
/// libFuzzer's own hook ends the process at any panic, before it can be caught.
pub fn let_the_yaml_library_panic() {
    let ends_the_process = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| place.file().contains("libyaml-safer")) {
            ends_the_process(panic);
        }
    }));
}

/// An input, read from its beginning. Beyond its end it yields zeroes and empty pieces, so that every input is valid.
pub struct Input<'i>(&'i [u8]);

impl<'i> Input<'i> {
    /// The whole of an input.
    pub fn new(octets: &'i [u8]) -> Self {
        Self(octets)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next octet.
    pub fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A piece whose length is the next octet.
    pub fn piece(&mut self) -> &'i [u8] {
        let length = usize::from(self.octet()).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }

    /// One of several values, selected by the next octet.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.octet()) % of.len()]
    }
}

/// Jobs of the mesh below, with the last octet of their virtual IPs; each is a service `JOB.web.shop.boshy`.
const JOBS: [(&str, u8); 3] =
    [("checkout", 2), ("httpbin", 3), ("a-job-with-a-name-as-long-as-a-label-may-be-which-is-63-octets", 4)];

/// Three services with two ports and three instances each; one instance has no availability zone, one has an IPv6
/// address.
pub fn snapshot() -> MeshSnapshot {
    let mut services: Vec<_> = JOBS.into_iter().map(|(job, vip)| Shared::new(service(job, vip))).collect();
    services.sort_by(|one, other| one.host().cmp(other.host()));
    let endpoints = services.iter().flat_map(|plan| &plan.service.endpoints);
    let workloads: Vec<_> = endpoints.map(|endpoint| endpoint.workload.clone()).collect();
    let content = SnapshotContent::join(services, workloads, &MeshRules::default(), &SnapshotContent::default());
    MeshSnapshot { generation: 1, hash: String::new(), content }
}

/// The names of [`snapshot`].
pub fn names() -> NameTable {
    snapshot().content.names()
}

fn service(job: &str, vip: u8) -> ServicePlan {
    let port = |name, number| Port {
        name: PortName::new(name).expect("a port name"),
        number,
        protocol: Protocol::Tcp,
        ingress: None,
    };
    let endpoint = |ip: &str, az: Option<&str>| {
        let id = ip.replace('x', &vip.to_string());
        let ip: IpAddr = id.parse().expect("an address");
        let addresses = vec![NetworkAddress { address: ip.into(), network: None }];
        let workload = Workload { id, addresses, az: az.map(str::to_owned), ..Workload::default() };
        Endpoint { ip, workload: Shared::new(workload) }
    };
    ServicePlan {
        service: Service {
            host: Hostname::of_service(job, "web", "shop", &Tld::default()).expect("a host name"),
            origin: Origin { deployment: "shop".into(), group: "web".into(), job: job.into() },
            ports: vec![port("http", 8080), port("admin", 9000)],
            endpoints: vec![
                endpoint("10.0.0.x", Some("z<1>")),
                endpoint("10.0.1.x", None),
                endpoint("fd00::x", Some("")),
            ],
        },
        vip: Ipv4Addr::new(169, 254, 255, vip),
        tunnel: None,
        withdrawn: Default::default(),
    }
}

/// Checks the invariants of a job named `web`: its files stay in its folder, and its links differ.
pub fn sound(spec: &JobSpec) {
    assert_eq!(spec.name, "web");
    for path in spec.templates.iter().flat_map(|(source, to)| [source, to]) {
        let stays = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        assert!(Path::new(path).components().all(stays), "{path:?}");
        assert!(Path::new(path).file_name().is_some(), "{path:?}");
    }
    let provided: BTreeSet<_> = spec.provides.iter().map(|link| &link.name).collect();
    let consumed: BTreeSet<_> = spec.consumes.iter().map(|link| &link.name).collect();
    assert!(provided.len() == spec.provides.len() && consumed.len() == spec.consumes.len(), "{spec:?}");
}
