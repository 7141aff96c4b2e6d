//! Measures the cost of a mesh of many services for its pilot. Prints one JSON line for each size:
//!
//! ```text
//! cargo run --release -p boshy-xds --example scale
//! ```
//!
//! `join_ms` is the time from an inventory, in which one instance has changed, to a snapshot with all leases held;
//! `build_ms` is the time from a snapshot to the encoded resources that all proxies share; `rebuild_ms` is the same
//! after one service has lost an instance; `node_us` is the time to complete the set for one proxy. `change_octets` is
//! the size of what that proxy is then sent. `keep_ms` is the time that an agent takes to write and flush its state
//! (`keep_octets`) in the directory of temporary files, and `grow_ms` the time for that change alone (`grow_octets`); a
//! new name waits for this. `agent_ms` is the time that an agent
//! takes for the new endpoints of one service, without Envoy and without the disk. Times are medians over rounds. The
//! proxy is a client on a real connection.

#![expect(clippy::disallowed_methods, reason = "a benchmark, which ends by what it waits for")]

#[allow(clippy::unwrap_used, reason = "shared with the tests")]
#[path = "../tests/support/mesh.rs"]
mod mesh;

use std::{
    error::Error,
    hint::black_box,
    io::Write,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_mesh::{
    Deployment, Hostname, Instance, InstanceGroup, Inventory, Job, LeaseRules, Leases, MeshRules, MeshSnapshot, Moment,
    NodeId, Port, PortName, Protocol, ServicePlan, Shared, SnapshotContent, Tld, VipRange, VipShare, Workloads,
    discover,
};
use boshy_state::Growing;
use boshy_xds::{
    AckStates, AdsService, CAPTURE, MeshSource, Proxies, Resource, ResourceSet, ResourceType, Scope, SharedResources,
    agent::{
        Exchange, Outlets, StreamEvent,
        relay::{Relay, RelaySettings, Stored},
    },
    session::client::ResponseFromPilot,
};
use envoy_types::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc, sync::watch, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

const SIZES: [usize; 2] = [1_000, 5_000];
const INSTANCES: usize = 3;
const ROUNDS: usize = 9;
const NODE: &str = "sidecar~10.0.0.1~x~x";
/// When no response arrives for this long, there is none.
const QUIET: Duration = Duration::from_millis(300);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for size in SIZES {
        let before = snapshot(1, size);
        let after = with_one_instance_less(&before);
        let node: NodeId = NODE.parse()?;
        let first = SharedResources::build(&before, None, CAPTURE);
        let build = median(|| drop(black_box(SharedResources::build(&before, None, CAPTURE))));
        let rebuild = median(|| drop(black_box(SharedResources::build(&after, Some(&first), CAPTURE))));
        let complete = median(|| drop(black_box(first.for_node(&node, Scope::Plain))));
        let stored = kept(&first.for_node(&node, Scope::Plain));
        let keep_octets = stored.encode().len();
        let changed = SharedResources::build(&after, Some(&first), CAPTURE).for_node(&node, Scope::Plain);
        let states = [stored, kept(&changed)].map(Arc::new);
        let grow_octets = change_between(&states[0], &states[1]).len();
        let [keep, grow] = keeping(&states).await?;
        let agent = agent_takes(&first, &SharedResources::build(&after, Some(&first), CAPTURE));
        let join = joining(size);
        let (initial, change) = sent(before, after).await?;
        writeln!(
            std::io::stdout(),
            r#"{{"services":{size},"instances":{INSTANCES},"join_ms":{:.2},"build_ms":{:.2},"rebuild_ms":{:.2},"node_us":{:.1},"initial_octets":{initial},"change_octets":{change},"keep_octets":{keep_octets},"keep_ms":{:.1},"grow_octets":{grow_octets},"grow_ms":{:.2},"agent_ms":{:.2}}}"#,
            join.as_secs_f64() * 1e3,
            build.as_secs_f64() * 1e3,
            rebuild.as_secs_f64() * 1e3,
            complete.as_secs_f64() * 1e6,
            keep.as_secs_f64() * 1e3,
            grow.as_secs_f64() * 1e3,
            agent.as_secs_f64() * 1e3,
        )?;
    }
    Ok(())
}

/// Time that an agent takes for the endpoints of one service, beside that for the disk.
fn agent_takes(before: &SharedResources, after: &SharedResources) -> Duration {
    let node: NodeId = NODE.parse().expect("a node");
    let sets = [before, after].map(|shared| shared.for_node(&node, Scope::Plain));
    let [old, new] = sets.each_ref().map(|set| set.of(ResourceType::Endpoints));
    let name = old.iter().find(|one| new.get(&one.name) != Some(one)).map(|one| Arc::clone(&one.name));
    let name = name.expect("one service has changed");
    let mut exchange = Exchange::new(relay_with(&sets[0]), AckStates::default(), Outlets::default());
    let mut turn = 0;
    median(|| {
        turn += 1;
        let resource = sets[turn % 2].of(ResourceType::Endpoints).get(&name).expect("it is in both").as_ref().clone();
        exchange.heard(StreamEvent::Received(Ok(response(ResourceType::Endpoints, vec![resource]))));
    })
}

/// The state of an agent that has received all of a set.
fn kept(set: &ResourceSet) -> Stored {
    relay_with(set).stored()
}

fn relay_with(set: &ResourceSet) -> Relay {
    let settings = RelaySettings { require_proxy: false, ..RelaySettings::default() };
    let mut relay = Relay::new(settings, Stored::default());
    for kind in ResourceType::ALL {
        let resources = set.of(kind).iter().map(|resource| resource.as_ref().clone()).collect();
        relay.receive(response(kind, resources), Instant::now(), &AckStates::default());
    }
    relay
}

fn response(kind: ResourceType, resources: Vec<Resource>) -> ResponseFromPilot {
    let (nonce, version) = (String::new(), String::new());
    ResponseFromPilot { kind, nonce, version, resources, removed: Vec::new(), complete: true }
}

fn change_between(before: &Stored, after: &Stored) -> Vec<u8> {
    after.encode_change(before).expect("both know the same types")
}

/// Times to write one of two states as the agent does: all of it, and what has changed since the other.
async fn keeping(states: &[Arc<Stored>; 2]) -> Result<[Duration; 2], Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("relay");
    let mut file = Growing::default();
    let (mut whole, mut grown) = (Vec::new(), Vec::new());
    for turn in 0..ROUNDS {
        let begun = Instant::now();
        let state = Arc::clone(&states[turn % 2]);
        file.replace(&path, move |edition| state.encode_edition(edition)).await?;
        whole.push(begun.elapsed());
        let begun = Instant::now();
        file.append(&path, change_between(&states[turn % 2], &states[(turn + 1) % 2])).await?;
        grown.push(begun.elapsed());
    }
    let middle = |mut times: Vec<Duration>| {
        times.sort();
        times[ROUNDS / 2]
    };
    Ok([middle(whole), middle(grown)])
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

/// Time to find services in an inventory and to join them with their leases, while one instance changes.
fn joining(size: usize) -> Duration {
    let inventories = [inventory(size, 0), inventory(size, 1)];
    let (tld, range) = (Tld::default(), VipRange::parse("10.128.0.0/16").expect("a range"));
    let rules = LeaseRules { range, quarantine: Duration::ZERO, share: VipShare::percent(100).expect("a share") };
    let claims = discover(&inventories[0], &tld, range, &Workloads::default()).claims();
    let leases = Leases::default().reconcile(&claims, &rules, Moment(0), &Default::default()).leases;
    let mut current = MeshSnapshot::default();
    let mut turn = 0;
    median(|| {
        turn += 1;
        let inventory = &inventories[turn % 2];
        let found = discover(inventory, &tld, range, &current.content.workloads);
        let content = SnapshotContent::assemble(&found, &leases, &MeshRules::default(), &current.content);
        current = current.next(content).expect("one instance has changed");
    })
}

/// Deployments of ten groups with three instances each; `missing` instances are left out.
fn inventory(size: usize, missing: usize) -> Inventory {
    let port =
        Port { name: PortName::new("http").expect("a name"), number: 9000, protocol: Protocol::Tcp, ingress: None };
    let job = Job { name: "web".into(), ports: vec![port], runtime_config: None };
    let instance = |number: usize, index: usize| Instance {
        group: format!("group-{}", number % 10),
        index: Some(index as u32),
        id: format!("9d8a6f6c-7d8c-4f5e-9d1f-{:012}", number * INSTANCES + index),
        az: Some("z1".into()),
        ips: vec![IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + (number * INSTANCES + index) as u32)).into()],
        expects_vm: true,
        ..Instance::default()
    };
    let deployment = |number: usize| Deployment {
        name: format!("deployment-{number:04}"),
        groups: (0..10)
            .map(|group| InstanceGroup {
                name: format!("group-{group}"),
                jobs: vec![job.clone()],
                ..InstanceGroup::default()
            })
            .collect(),
        instances: (0..10)
            .flat_map(|group| (0..INSTANCES).map(move |index| (number * 10 + group, index)))
            .map(|(number, index)| instance(number, index))
            .collect(),
        ..Deployment::default()
    };
    let mut deployments: Vec<_> = (0..size / 10).map(deployment).collect();
    let middle = deployments.len() / 2;
    let instances = &mut deployments[middle].instances;
    instances.truncate(instances.len() - missing);
    Inventory { deployments, ..Inventory::default() }
}

fn snapshot(generation: u64, size: usize) -> MeshSnapshot {
    let services: Vec<_> = (0..size).map(|number| Shared::new(numbered(number))).collect();
    mesh::snapshot(generation, &services)
}

fn numbered(number: usize) -> ServicePlan {
    let mut plan = ServicePlan::clone(&mesh::service("web", 1, &[]));
    let address = |base: u32, number: usize| Ipv4Addr::from(base + number as u32);
    plan.vip = address(0x0a80_0000, number);
    plan.service.host =
        Hostname::of_service("web", &format!("group-{number:04}"), "deployment", &Tld::default()).expect("a host name");
    let instance = |index| address(0x0a00_0001, number * INSTANCES + index);
    plan.service.endpoints =
        (0..INSTANCES).map(|index| mesh::endpoint(IpAddr::V4(instance(index)), Some("z1"))).collect();
    plan
}

/// Removes one instance. The other services keep their identical values, as in a pilot.
fn with_one_instance_less(before: &MeshSnapshot) -> MeshSnapshot {
    let MeshSnapshot { generation, content, .. } = before;
    let mut services = content.services.clone();
    let middle = services.len() / 2;
    let mut changed = ServicePlan::clone(&services[middle]);
    changed.service.endpoints.pop();
    services[middle] = Shared::new(changed);
    let workloads = content.workloads.iter().map(|plan| plan.workload.clone());
    let content = SnapshotContent::join(services, workloads, &MeshRules::default(), content);
    MeshSnapshot { generation: generation + 1, hash: String::new(), content }
}

/// Sizes in octets of the first responses to one proxy, and of those after the change.
async fn sent(before: MeshSnapshot, after: MeshSnapshot) -> Result<(usize, usize), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (snapshots, receiver) = watch::channel(Arc::new(before));
    let service = AdsService::new(MeshSource::new(receiver, CAPTURE), Proxies::default());
    let server = tokio::spawn(service.serve_tcp(listener, std::future::pending()));
    let mut client = AggregatedDiscoveryServiceClient::connect(address).await?.max_decoding_message_size(64 << 20);
    let (requests, outgoing) = mpsc::channel(64);
    let mut responses = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await?.into_inner();
    for kind in [ResourceType::Names, ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener] {
        requests.send(subscription(kind)).await?;
    }
    let mut octets = Vec::new();
    for _ in 0..2 {
        let mut sum = 0;
        while let Ok(Some(response)) = timeout(QUIET, responses.message()).await.unwrap_or(Ok(None)) {
            sum += response.encoded_len();
            requests.send(acknowledgement(&response)).await?;
        }
        octets.push(sum);
        snapshots.send_replace(Arc::new(after.clone()));
    }
    server.abort();
    Ok((octets[0], octets[1]))
}

fn subscription(kind: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: NODE.to_owned(), ..Node::default() }),
        type_url: kind.url().to_owned(),
        resource_names_subscribe: vec!["*".to_owned()],
        ..DeltaDiscoveryRequest::default()
    }
}

fn acknowledgement(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    }
}
