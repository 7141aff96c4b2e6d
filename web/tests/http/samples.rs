//! A small mesh, and roles that report on it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use boshy_dns::StatsSnapshot;
use boshy_mesh::{
    Endpoint, Hostname, MeshRules, MeshSnapshot, MtlsMode, NameTable, NetworkAddress, Origin, Place, Port, PortName,
    Problem, Protocol, Service, ServicePlan, Shared, SnapshotContent, Stage, Tld, TrustDomain, VipRange, Workload,
};
use boshy_supervision::{ChildKind, ChildState, ChildStatus, TreeStatus};
use boshy_web::{pilot::PilotView, status::*};
use boshy_xds::{Flavour, Identity, ProxyStatus, Rejection, ResourceType, TypeStatus, agent::relay::Nack};
use tokio::sync::watch;

pub(crate) fn host(group: &str) -> Hostname {
    Hostname::of_service("httpbin", group, "sample", &Tld::default()).unwrap()
}

/// A service on port 9001 named `http`.
pub(crate) fn service(group: &str, vip: u8, ips: &[&str]) -> Shared<ServicePlan> {
    let origin = Origin { deployment: "sample".into(), group: group.into(), job: "httpbin".into() };
    let ports =
        vec![Port { name: PortName::new("http").unwrap(), number: 9001, protocol: Protocol::Tcp, ingress: None }];
    let endpoints = ips.iter().map(|ip| endpoint(ip.parse().unwrap())).collect();
    let service = Service { host: host(group), origin, ports, endpoints };
    Shared::new(ServicePlan {
        service,
        vip: Ipv4Addr::new(169, 254, 255, vip),
        tunnel: None,
        withdrawn: Default::default(),
    })
}

fn endpoint(ip: IpAddr) -> Endpoint {
    let addresses = vec![NetworkAddress { address: ip.into(), network: None }];
    let workload = Workload { id: ip.to_string(), addresses, az: Some("z1".into()), ..Workload::default() };
    Endpoint { ip, workload: Shared::new(workload) }
}

pub(crate) fn snapshot(generation: u64, services: Vec<Shared<ServicePlan>>) -> Arc<MeshSnapshot> {
    let endpoints = services.iter().flat_map(|plan| &plan.service.endpoints);
    let workloads: Vec<_> = endpoints.map(|endpoint| endpoint.workload.clone()).collect();
    let content = SnapshotContent::join(services, workloads, &MeshRules::default(), &SnapshotContent::default());
    Arc::new(MeshSnapshot { generation, hash: "ab12".into(), content })
}

/// One service, `httpbin.apricot.sample.boshy`, on 10.0.0.1 and 10.0.0.2.
pub(crate) fn orchard() -> Arc<MeshSnapshot> {
    snapshot(1, vec![service("apricot", 1, &["10.0.0.1", "10.0.0.2"])])
}

/// A pilot that serves a snapshot, and the sender that replaces it.
pub(crate) fn pilot(first: Arc<MeshSnapshot>) -> (watch::Sender<Arc<MeshSnapshot>>, PilotView) {
    let (sender, receiver) = watch::channel(first);
    let seen = receiver.clone();
    (sender, PilotView::new(receiver, Arc::new(move || pilot_status(&seen.borrow())), Arc::new(|| Ok(()))))
}

pub(crate) fn pilot_status(snapshot: &MeshSnapshot) -> PilotStatus {
    let rejected = Rejection { version: "v2".into(), reason: "no".into(), at: 1_700_000_300 };
    let listener = TypeStatus { sent: Some("v2".into()), accepted: Some("v1".into()), rejected: Some(rejected) };
    PilotStatus {
        readiness: match snapshot.generation {
            0 => Readiness::waiting("the director has not been read yet"),
            _ => Readiness::ready(),
        },
        lacking: vec![Lack {
            what: "leases",
            since: 1_700_000_000,
            reason: "No space left on device".into(),
            remedy: "Make room.".into(),
        }],
        snapshot: snapshot.into(),
        convergence: ConvergenceStatus { generation: 1, behind: 2, proxies: Some(3), milliseconds: Some(45) },
        director: DirectorStatus {
            url: "https://director:25555".into(),
            last_success: Some(1_700_000_000),
            error: None,
        },
        deployments: vec![DeploymentStatus {
            name: "sam\"ple".into(),
            last_good: Some(1_700_000_100),
            error: Some("HTTP 500".into()),
        }],
        configs: vec![ConfigStatus {
            name: "net".into(),
            latest: "9".into(),
            applied: Some("7".into()),
            error: Some("line 4 is wrong".into()),
        }],
        problems: vec![Problem::new(Place::deployment("sample"), "has a problem")],
        pool: PoolStatus {
            range: VipRange::default(),
            capacity: 254,
            held: 1,
            resting: 2,
            refused: vec![host("late")],
            unwritten: vec![host("unkept")],
        },
        services: snapshot.content.services.iter().map(|plan| (&**plan).into()).collect(),
        actors: actors(),
        xds: XdsStatus { tls: true, refused: [("untrusted", 2)].into(), foreign: 1 },
        identity: Some(IdentityStatus {
            trust_domain: TrustDomain::default(),
            attestation: Attestation::Deployment,
            authority_end: Some(1_900_000_000),
            known: 3,
            issued: 5,
            refused: [("another_key", 1)].into(),
            latest_refusals: vec![RefusedRequest {
                at: 1_700_000_300,
                address: [10, 0, 0, 7].into(),
                reason: "another key".into(),
            }],
        }),
        mtls: Some(MtlsStatus {
            mode: MtlsMode::Strict,
            changing: vec![ChangeStatus {
                host: host("apricot"),
                port: 9001,
                stage: Stage::Prepared,
                wanted: MtlsMode::Strict,
            }],
            awaited: vec!["one".into()],
        }),
        reports: vec![ReportStatus {
            instance: "one".into(),
            able: true,
            stopping: false,
            issuer: Some("aa".into()),
            roots: vec!["aa".into(), "bb".into()],
            age: 7,
        }],
        stopping: vec![StopStatus { instance: "one".into(), age: 3 }],
        proxies: vec![ProxyStatus {
            node: "sidecar~10.0.0.1~x~x".into(),
            flavour: Flavour::Delta,
            tls: Some(Identity { subject: "CN=agent".into(), workload: None }),
            connected_since: 1_700_000_200,
            types: [(ResourceType::Listener, listener), (ResourceType::Names, TypeStatus::default())].into(),
        }],
    }
}

pub(crate) fn agent_status() -> AgentStatus {
    AgentStatus {
        readiness: Readiness::waiting("Envoy is away"),
        lacking: vec![Lack {
            what: "envoy",
            since: 1_700_000_400,
            reason: "it is away".into(),
            remedy: "Start it.".into(),
        }],
        node: "sidecar~10.0.0.1~x~x".into(),
        pilot: PilotLink {
            address: Some("10.0.0.9:15010".into()),
            connected_since: Some(1_700_000_000),
            ..PilotLink::default()
        },
        identity: OwnIdentity {
            certificate: Some(CertificateStatus {
                spiffe_id: "spiffe://boshy/ns/d/sa/g".into(),
                not_after: 1_700_086_400,
                renew_at: 1_700_043_200,
                ..CertificateStatus::default()
            }),
            ..OwnIdentity::default()
        },
        stopping: Some(OwnStop { since: 1_700_000_500, told: vec!["http://pilot:15010/".into()], untold: [].into() }),
        names: NamesStatus {
            answered: NameTable::from_iter([(host("apricot"), Ipv4Addr::new(169, 254, 255, 1))]),
            pending: vec![host("banana")],
        },
        envoy: EnvoyStatus {
            connected: false,
            live: None,
            accepted: [(ResourceType::Cluster, "v1".into())].into(),
            refused: vec![Nack {
                kind: ResourceType::Listener,
                name: "virtual".into(),
                version: "v2".into(),
                reason: "no".into(),
                attempts: 3,
            }],
            refusing: 1,
            inspection: InspectionStatus { last: Some(1_700_000_400), repairs: 2, ..InspectionStatus::default() },
        },
        tunnels: TunnelsStatus::default(),
        rules: RulesStatus { pairs: 3, in_place: true, drift_repairs: 3, ..RulesStatus::default() },
        dns: DnsStatus::new(
            &StatsSnapshot { queries: 8, answers: [5, 0, 0, 2, 0, 1, 0, 0], ..StatsSnapshot::default() },
            9,
        ),
        actors: actors(),
    }
}

fn actors() -> TreeStatus {
    let child = |name: &str, state, restarts| ChildStatus {
        name: name.into(),
        kind: ChildKind::Actor,
        state,
        stuck: (restarts > 0).then(|| "two has blocked its thread for 31 s".to_owned()),
        restarts,
        last_exit: None,
    };
    TreeStatus {
        name: "root".into(),
        children: vec![child("one", ChildState::Running, 0), child("two", ChildState::BackingOff, 4)],
    }
}
