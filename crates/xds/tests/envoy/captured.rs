//! Captured ports, through a real Envoy: what callers from outside reach in plaintext, and whom policies by address let
//! through.
//!
//! No kernel leads anything to Envoy. The listener of the captured port is bound to another port instead.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use boshy_mesh::{
    Action, AppliedConfig, AuthorizationPolicy, DocumentKind, DocumentName, Documents, INGRESS_PORT, Ingress,
    MeshRules, MeshSnapshot, NodeId, Policies, PolicyConfig, Position, Rule, Scope as Services, ServicePlan, Shared,
    Source,
};
use boshy_xds::{
    AckState, AckStates, AdminAddress, AdsService, Bootstrap, Flavour, Layer, PeerTimeout, Proxies, RefusalReason,
    Refusals, RefusedTunnel, Resource, ResourceMap, ResourceSet, ResourceType, Scope, SharedResources, Side,
    TypedResources,
    inspection::{self, Difference, INSPECTED},
};
use envoy_types::pb::{
    envoy::config::{
        core::v3::{Address, SocketAddress, address, socket_address::PortSpecifier},
        listener::v3::Listener,
    },
    google::protobuf::BoolValue,
};
use prost::Message;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixListener},
    process::Child,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    driver::{DEADLINE, body, log, run, socket, try_admin, version},
    mesh,
    tunnels::program::{GREETING, Manner, Program},
};

/// The port of the program.
const PORT: u16 = 9000;
/// Where its callers come to Envoy.
const CAPTURED: u16 = 9006;

/// A VM whose one port is captured.
struct Vm {
    ip: Ipv4Addr,
    sets: watch::Sender<Arc<ResourceSet>>,
    acks: AckStates,
    proxies: Proxies,
    refusals: Refusals,
    server: JoinHandle<()>,
    _envoy: Child,
    folder: TempDir,
}

impl Vm {
    async fn start(policies: &Policies) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let ip = Ipv4Addr::new(127, 70, NEXT.fetch_add(1, Ordering::Relaxed), 2);
        let (folder, sets) = (tempfile::tempdir().unwrap(), watch::Sender::new(set(ip, 1, policies)));
        let (acks, proxies, refusals) = (AckStates::default(), Proxies::default(), Refusals::default());
        let listener = UnixListener::bind(socket(&folder)).unwrap();
        let service = AdsService::new(sets.subscribe(), proxies.clone()).recording(acks.clone());
        let service = service.counting(refusals.clone());
        let server = tokio::spawn(async move { service.serve_unix(listener, std::future::pending()).await.unwrap() });
        let bootstrap = Bootstrap {
            node: node(ip),
            ads_socket: socket(&folder),
            admin: Some(AdminAddress::Tcp((ip, 8001).into())),
            flavour: Flavour::Delta,
            version: version(),
            peer_timeout: Some(PeerTimeout::DEFAULT),
            open_files: 4096,
            health_socket: None,
            tunnel_end: None,
        };
        let _envoy = run(&folder, &bootstrap.to_json());
        let vm = Self { ip, sets, acks, proxies, refusals, server, _envoy, folder };
        vm.has_accepted().await;
        vm
    }

    /// It has these policies from now on.
    async fn follows(&self, policies: &Policies) {
        let generation = self.sets.borrow().generation() + 1;
        self.sets.send_replace(set(self.ip, generation, policies));
        self.has_accepted().await;
    }

    async fn has_accepted(&self) {
        let set = self.sets.borrow().clone();
        let of = |kind| set.of(kind).iter().map(move |one: &Arc<Resource>| (kind, one));
        let is_accepted = || {
            of(ResourceType::Cluster).chain(of(ResourceType::Listener)).all(|(kind, one)| {
                match self.acks.of(kind, &one.name, &one.version) {
                    AckState::Nacked(reason) => panic!("Envoy refuses {}: {reason}", one.name),
                    state => state == AckState::Acked,
                }
            })
        };
        eventually("Envoy accepts all", async || is_accepted()).await;
        eventually("Envoy has what it acknowledged", async || self.differences().await.is_empty()).await;
    }

    /// As the agent looks.
    async fn differences(&self) -> Vec<Difference> {
        let (set, mut differences) = (self.sets.borrow().clone(), Vec::new());
        for (kind, path) in INSPECTED {
            let answer = self.admin(path).await;
            let found = inspection::read(kind, answer.as_bytes()).unwrap();
            let accepted = |name: &str| self.acks.acked_version(kind, name);
            let flavour = self.proxies.list()[0].flavour;
            differences.extend(inspection::differences(kind, flavour, &set, accepted, &found));
        }
        differences
    }

    async fn admin(&self, path: &str) -> String {
        body(&try_admin((self.ip, 8001).into(), path).await.unwrap())
    }

    fn program(&self) -> SocketAddr {
        (self.ip, PORT).into()
    }

    /// A connection from an address that ends in this octet.
    async fn called_from(&self, last: u8) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let [a, b, c, _] = self.ip.octets();
        socket.bind((Ipv4Addr::new(a, b, c, last), 0).into())?;
        socket.connect((self.ip, CAPTURED).into()).await
    }

    /// Whether a caller at this address hears the program, which speaks first, and is answered by it.
    async fn is_served(&self, last: u8) -> bool {
        let Ok(mut stream) = self.called_from(last).await else { return false };
        let mut heard = Vec::new();
        let served = asks(&mut stream, &mut heard).await;
        assert!(served || heard.is_empty(), "a caller that is denied hears {heard:?}");
        served
    }

    /// The agent and Envoy's log tell of denied callers whose addresses end in these octets, how often, and by which rule.
    async fn tells(&self, denied: [(u8, u64, &str); 3]) {
        let [a, b, c, _] = self.ip.octets();
        let target = format!("{}:{CAPTURED}", self.ip);
        let expected = denied.map(|(last, count, rule)| {
            let caller = Some(Ipv4Addr::new(a, b, c, last).to_string());
            let details = format!("rbac_access_denied_matched_policy[{rule}]");
            let (side, reason, target) = (Side::Captured, RefusalReason::Denied, target.clone());
            (RefusedTunnel { side, reason, caller, target, details }, count)
        });
        let told = || self.refusals.latest().into_iter().map(|one| (one.tunnel, one.count)).collect::<BTreeMap<_, _>>();
        eventually("the agent is told by which rule", async || told() == expected.clone().into()).await;
        let is_of = |line: &str, refused: &RefusedTunnel| {
            let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { return false };
            let caller = format!("{}:", refused.caller.as_deref().unwrap_or_default());
            line["what"] == "connection refused"
                && line["authority"] == *refused.target
                && line["details"] == *refused.details
                && line["caller_address"].as_str().is_some_and(|address| address.starts_with(&caller))
        };
        let logged = || std::fs::read_to_string(log(&self.folder)).unwrap();
        let all = async || expected.iter().all(|(refused, _)| logged().lines().any(|line| is_of(line, refused)));
        eventually("the log says by which rule", all).await;
    }

    async fn counts(&self, statistic: &str) -> u64 {
        let name = format!("tcp.ingress_{}_{PORT}{statistic}: ", self.ip);
        let statistics = self.admin("/stats?filter=ingress_").await;
        statistics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn asks(stream: &mut TcpStream, heard: &mut Vec<u8>) -> bool {
    let exchange = async {
        while heard.len() < GREETING.len() {
            if stream.read_buf(heard).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answers(stream).await
    };
    timeout(DEADLINE, exchange).await.expect("a caller is served or closed").is_ok()
}

async fn answers(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"question").await?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await?;
    if answer == *b"question" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn node(ip: Ipv4Addr) -> NodeId {
    format!("sidecar~{ip}~x~x").parse().unwrap()
}

/// The resources of a VM without mutual TLS. The listener of its captured port is bound, and has another port.
fn set(ip: Ipv4Addr, generation: u64, policies: &Policies) -> Arc<ResourceSet> {
    let mut plan = ServicePlan::clone(&mesh::service("web", 1, &[]));
    plan.service.ports[0].ingress = Some(Ingress::default());
    plan.service.endpoints = vec![mesh::endpoint(ip.into(), None)];
    let workloads = [plan.service.endpoints[0].workload.clone()];
    let rules = MeshRules { policies: policies.clone(), ..MeshRules::default() };
    let content = boshy_mesh::SnapshotContent::join(
        vec![Shared::new(plan)],
        workloads,
        &rules,
        &boshy_mesh::SnapshotContent::default(),
    );
    let snapshot = MeshSnapshot { generation, content, ..MeshSnapshot::default() };
    let shared = SharedResources::build(&snapshot, None, (ip, 15001).into());
    let set = shared.for_node(&node(ip), Scope::Plain);
    let bound = |resource: &Arc<Resource>| {
        if *resource.name != *format!("tcp_{ip}_{PORT}") {
            return Arc::clone(resource);
        }
        let mut listener = Listener::decode(resource.body.clone()).unwrap();
        listener.bind_to_port = Some(BoolValue { value: true });
        let at = SocketAddress {
            address: ip.to_string(),
            port_specifier: Some(PortSpecifier::PortValue(CAPTURED.into())),
            ..SocketAddress::default()
        };
        listener.address = Some(Address { address: Some(address::Address::SocketAddress(at)) });
        Arc::new(Resource::new(resource.name.clone(), listener.encode_to_vec()))
    };
    let listeners: ResourceMap =
        set.of(ResourceType::Listener).iter().map(bound).map(|one| (one.name.clone(), one)).collect();
    Arc::new(set.with(ResourceType::Listener, TypedResources::new([Layer::new(listeners)])))
}

/// Policies of these actions, for callers whose addresses end in these octets. The last flag puts one on trial.
fn policies(ip: Ipv4Addr, written: &[(Action, &[u8], bool)]) -> Policies {
    let [a, b, c, _] = ip.octets();
    let policy = |(index, &(action, last, dry_run)): (usize, &(Action, &[u8], bool))| {
        let position = Position { line: 10 * index as u32 + 1, column: 1 };
        let ip_blocks = last.iter().map(|last| IpAddr::from([a, b, c, *last]).into()).collect();
        let kind = DocumentKind::AuthorizationPolicy;
        AuthorizationPolicy {
            name: DocumentName { config: "net".into(), position, kind, name: "p".into() },
            scope: Services::default(),
            action,
            dry_run,
            rules: vec![Rule { position, from: vec![Source { ip_blocks, ..Source::default() }], to: Vec::new() }],
        }
    };
    let authorizations = written.iter().enumerate().map(policy).collect();
    let documents = Documents { authorizations, ..Documents::default() };
    let applied = Some(AppliedConfig { version: "1".into(), documents });
    Policies::of(&[PolicyConfig { name: "net".into(), latest: "1".into(), applied, problems: Vec::new() }])
}

#[tokio::test]
async fn a_captured_connection_reaches_the_program_is_counted_and_ends_when_the_program_is_down() {
    let vm = Vm::start(&Policies::default()).await;
    let program = Program::start(vm.program(), Manner::Greets).await;
    for last in [11, 12] {
        assert!(vm.is_served(last).await, "{last}");
    }
    assert_eq!(program.accepted(), 2);
    eventually("both are counted", async || vm.counts(".downstream_cx_total").await == 2).await;
    assert!(vm.counts(".downstream_cx_tx_bytes_total").await >= 2 * GREETING.len() as u64);
    drop(program);
    assert!(!vm.is_served(11).await, "the program is down");
    // Whoever comes to the port of captured connections itself was led by no kernel.
    let mut stream = TcpStream::connect((vm.ip, INGRESS_PORT)).await.unwrap();
    let end = timeout(DEADLINE, stream.read_buf(&mut Vec::new())).await.expect("it is closed");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test]
async fn policies_by_address_decide_before_the_program_sees_a_caller_and_end_no_connection_that_is_open() {
    let vm = Vm::start(&Policies::default()).await;
    let program = Program::start(vm.program(), Manner::Greets).await;
    let (mut held, mut heard) = (vm.called_from(12).await.unwrap(), Vec::new());
    assert!(asks(&mut held, &mut heard).await);
    let mut served = program.accepted();
    for (written, allowed) in [
        (vec![(Action::Allow, &[11, 13][..], false)], [true, false, true]),
        (vec![(Action::Allow, &[11, 13], false), (Action::Deny, &[13], false)], [true, false, false]),
        (vec![(Action::Deny, &[11], false), (Action::Allow, &[13], true)], [false, true, true]),
        (vec![], [true, true, true]),
    ] {
        vm.follows(&policies(vm.ip, &written)).await;
        for (last, allowed) in [11, 12, 13].into_iter().zip(allowed) {
            assert_eq!(vm.is_served(last).await, allowed, "{last} with {written:?}");
        }
        served += allowed.iter().filter(|allowed| **allowed).count();
        assert_eq!(program.accepted(), served, "the program has seen a caller that is denied");
        answers(&mut held).await.expect("an open connection lives on");
    }
    // By the rule that has decided; `none` where no ALLOW policy has matched.
    for (statistic, count) in [("none", 2), ("net/p_11_1", 1), ("net/p_1_1", 1)] {
        let counted = async || vm.counts(&format!("_denied.{statistic}.downstream_cx_total")).await == count;
        eventually("those who are denied are counted", counted).await;
    }
    // 12, whom the policy on trial does not name.
    let tried = async || vm.counts("_shadow_denied.none.downstream_cx_total").await == 1;
    eventually("so is a trial", tried).await;
    vm.tells([(11, 1, "net/p:1:1"), (12, 2, "none"), (13, 1, "net/p:11:1")]).await;
}
