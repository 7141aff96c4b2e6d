//! A mesh of one service whose instances are reached through tunnels: VMs with an Envoy each, on addresses of loopback.
//!
//! No redirection is set up. A caller's listener is bound to the virtual IP, which is an address of loopback as well.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use ResourceType::{Cluster, Endpoints, Listener as Listeners, Route};
use boshy_mesh::{
    Endpoint, Hostname, MESH_PORT, MeshRules, MeshSnapshot, MtlsMode, MtlsRules, NetworkAddress, Origin, Policies,
    Port, PortName, Protocol, Service, ServicePlan, Shared, SnapshotContent, Tld, TrustDomain, Tunnel, Workload,
};
use boshy_tunnel_end::{Parts, TunnelEnd};
use boshy_xds::{
    AckState, AckStates, AdminAddress, AdsService, Bootstrap, Flavour, PROGRAM_HEADER, PeerTimeout, Proxies, Refusals,
    ResourceSet, ResourceType, Scope, SharedResources, TypedResources,
};
use http::HeaderName;
use tempfile::TempDir;
use tokio::{net::UnixListener, process::Child, sync::watch, task::JoinHandle, time::timeout};

use super::{
    certificates::{Ca, Secrets, id},
    secrets::with_bound_listeners,
};
use crate::driver::{DEADLINE, run, try_admin, version};

/// The port of the service.
pub(crate) const PORT: u16 = 9000;

/// A mesh. Its addresses are its own, so that tests can run at the same time.
pub(crate) struct Site {
    number: u8,
    pub(crate) ca: Ca,
    policies: Policies,
    /// VMs of an earlier version, whose Envoy has none.
    without_tunnel_end: Vec<u8>,
}

/// A VM with a running Envoy.
pub(crate) struct Vm {
    /// Tunnels that were not opened, as its Envoy reports them.
    pub(crate) refusals: Refusals,
    _envoy: Child,
    server: JoinHandle<()>,
    end: JoinHandle<()>,
    _folder: TempDir,
}

/// What a VM is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its programs call the service.
    Caller,
    /// It is an instance of the service.
    Instance,
    /// It is an instance, and its programs call the service.
    Both,
}

impl Site {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            ca: Ca::new("mesh"),
            policies: Policies::default(),
            without_tunnel_end: Vec::new(),
        }
    }

    /// A site with policies.
    pub(crate) fn with(policies: Policies) -> Self {
        Self { policies, ..Self::new() }
    }

    /// A site with VMs of an earlier version.
    pub(crate) fn without_tunnel_end(vms: &[u8]) -> Self {
        Self { without_tunnel_end: vms.to_vec(), ..Self::new() }
    }

    /// Address of a VM.
    pub(crate) fn ip(&self, vm: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 50, self.number, vm)
    }

    /// Where callers reach the service.
    pub(crate) fn service(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(127, 60, self.number, 1), PORT))
    }

    /// Where a VM's program listens.
    pub(crate) fn program(&self, vm: u8) -> SocketAddr {
        (self.ip(vm), PORT).into()
    }

    /// Where a VM accepts tunnels.
    pub(crate) fn tunnels(&self, vm: u8) -> SocketAddr {
        (self.ip(vm), MESH_PORT).into()
    }

    /// Waits until no tunnel is open at a VM's end.
    pub(crate) async fn has_no_tunnel(&self, vm: u8) {
        let admin = SocketAddr::from((self.ip(vm), 8001));
        let open = |line: &&str| line.contains("rq_active: ") && !line.starts_with("cluster.ads.");
        let gone = async {
            loop {
                let statistics = try_admin(admin, "/stats?filter=rq_active").await.unwrap();
                let mut counts = statistics.lines().filter(open).peekable();
                if counts.peek().is_some() && counts.all(|line| line.ends_with(": 0")) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, gone).await.expect("all tunnels end");
    }

    /// The caller's VM, of a mesh with these instances.
    pub(crate) async fn caller(&self, instances: &[u8]) -> Vm {
        self.start(1, Role::Caller, instances, &self.ca.secrets(1)).await
    }

    /// An instance with its own certificate.
    pub(crate) async fn instance(&self, vm: u8) -> Vm {
        self.start(vm, Role::Instance, &[vm], &self.ca.secrets(vm)).await
    }

    /// An instance with its own certificate and other policies than the others.
    pub(crate) async fn instance_with(&self, vm: u8, policies: &Policies) -> Vm {
        self.start_with(vm, Role::Instance, &[vm], &self.ca.secrets(vm), policies).await
    }

    /// A VM whose Envoy has these secrets and accepts everything.
    pub(crate) async fn start(&self, vm: u8, role: Role, instances: &[u8], secrets: &Secrets) -> Vm {
        self.start_with(vm, role, instances, secrets, &self.policies).await
    }

    async fn start_with(&self, vm: u8, role: Role, instances: &[u8], secrets: &Secrets, policies: &Policies) -> Vm {
        let folder = tempfile::tempdir().unwrap();
        let node = format!("sidecar~{}~x~x", self.ip(vm)).parse().unwrap();
        let admin = SocketAddr::from((self.ip(vm), 8001));
        let capture = SocketAddr::from((self.ip(vm), 15001));
        let shared = SharedResources::build(&self.snapshot(instances, policies), None, capture);
        let set = shared.for_node(&node, Scope::Certified);
        let set = Arc::new(
            with_bound_listeners(&set, role != Role::Instance)
                .with(ResourceType::Secret, TypedResources::new([secrets.layer()])),
        );
        let (ack_states, socket) = (AckStates::default(), folder.path().join("ads.sock"));
        // The sender is gone: the set does not change.
        let service = AdsService::new(watch::channel(Arc::clone(&set)).1, Proxies::default());
        let refusals = Refusals::default();
        let service = service.recording(ack_states.clone()).counting(refusals.clone());
        let listener = UnixListener::bind(&socket).unwrap();
        let server = tokio::spawn(async move { service.serve_unix(listener, std::future::pending()).await.unwrap() });
        let tunnel_end = folder.path().join("programs.sock");
        let (program, threads) = (HeaderName::from_static(PROGRAM_HEADER), 1);
        let end = TunnelEnd::start(&Parts { socket: tunnel_end.clone(), program, threads }).unwrap();
        let end = tokio::spawn(end.serve());
        let bootstrap = Bootstrap {
            node,
            ads_socket: socket,
            admin: Some(AdminAddress::Tcp(admin)),
            flavour: Flavour::Delta,
            version: version(),
            peer_timeout: Some(PeerTimeout::DEFAULT),
            open_files: 20_000,
            health_socket: None,
            tunnel_end: (!self.without_tunnel_end.contains(&vm)).then_some(tunnel_end),
        };
        let started = Vm { refusals, _envoy: run(&folder, &bootstrap.to_json()), server, end, _folder: folder };
        accepted(&ack_states, &set).await;
        listens(admin, set.of(Listeners).len()).await;
        started
    }

    fn snapshot(&self, instances: &[u8], policies: &Policies) -> MeshSnapshot {
        let domain = TrustDomain::default();
        let endpoint = |vm: &u8| {
            let ip = IpAddr::from(self.ip(*vm));
            let workload = Workload {
                id: id(*vm),
                deployment: "d".into(),
                group: "g".into(),
                addresses: vec![NetworkAddress { address: ip.into(), network: None }],
                ..Workload::default()
            };
            Endpoint { ip, workload: Shared::new(workload) }
        };
        let IpAddr::V4(vip) = self.service().ip() else { unreachable!() };
        let plan = ServicePlan {
            service: Service {
                host: Hostname::of_service("web", "g", "d", &Tld::default()).unwrap(),
                origin: Origin { deployment: "d".into(), group: "g".into(), job: "web".into() },
                ports: vec![Port {
                    name: PortName::new("tcp").unwrap(),
                    number: PORT,
                    protocol: Protocol::Tcp,
                    ingress: None,
                }],
                endpoints: instances.iter().map(endpoint).collect(),
            },
            vip,
            tunnel: Some(Tunnel { domain: domain.clone(), ports: [PORT].into(), strict: [PORT].into() }),
            withdrawn: Default::default(),
        };
        let rules = MtlsRules::new(domain, MtlsMode::Strict);
        let workloads: Vec<_> = plan.service.endpoints.iter().map(|endpoint| endpoint.workload.clone()).collect();
        let rules = MeshRules { mtls: Some(rules), policies: policies.clone(), ..MeshRules::default() };
        let content = SnapshotContent::join(vec![Shared::new(plan)], workloads, &rules, &SnapshotContent::default());
        MeshSnapshot { generation: 1, content, ..MeshSnapshot::default() }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.server.abort();
        self.end.abort();
    }
}

async fn accepted(ack_states: &AckStates, set: &ResourceSet) {
    let mut changes = ack_states.changes();
    let asked = |kind| kind != Route || set.of(Listeners).iter().any(|one| one.name.starts_with("mesh_"));
    let kinds: Vec<_> = [Cluster, Endpoints, Route, Listeners].into_iter().filter(|kind| asked(*kind)).collect();
    let all = || {
        kinds.iter().flat_map(|kind| set.of(*kind).iter().map(move |one| (*kind, one))).all(|(kind, one)| {
            match ack_states.of(kind, &one.name, &one.version) {
                AckState::Acked => true,
                AckState::Pending => false,
                AckState::Nacked(reason) => panic!("Envoy refused {kind:?} {}: {reason}", one.name),
            }
        })
    };
    let waiting = async {
        while !all() {
            changes.changed().await.unwrap();
        }
    };
    timeout(DEADLINE, waiting).await.expect("Envoy accepts all");
}

/// Waits until connections are accepted for so many listeners. Envoy acknowledges a listener before that.
async fn listens(admin: SocketAddr, listeners: usize) {
    let wanted = format!("listener_manager.listener_create_success: {listeners}\n");
    let open = async {
        while !try_admin(admin, "/stats").await.is_ok_and(|statistics| statistics.contains(&wanted)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, open).await.expect("Envoy listens");
}
