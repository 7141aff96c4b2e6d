//! Measures the cost of a mesh of many services for its pilot. Prints one JSON line for each size:
//!
//! ```text
//! cargo run --release -p boshy-xds --example scale
//! ```
//!
//! `build_ms` is the time from a snapshot to the encoded resources that all proxies share; `rebuild_ms` is the same
//! after one service has lost an instance; `node_us` is the time to complete the set for one proxy. `change_octets` is
//! the size of what that proxy is then sent. `keep_ms` is the time that an agent takes to write and flush its state
//! (`keep_octets`) in the directory of temporary files; a new name waits for this. Times are medians over rounds. The
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

use boshy_mesh::{Endpoint, Hostname, MeshSnapshot, NodeId, ServicePlan, Tld};
use boshy_xds::{
    AdsService, CAPTURE, MeshSource, Proxies, ResourceSet, ResourceType, SharedResources, Verdicts,
    agent::relay::{Relay, RelaySettings, Stored},
    session::client::Response,
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
        let complete = median(|| drop(black_box(first.for_node(&node))));
        let stored = kept(&first.for_node(&node));
        let keep_octets = stored.encode().len();
        let keep = median(|| write(&stored).expect("write to the directory of temporary files"));
        let (initial, change) = sent(before, after).await?;
        writeln!(
            std::io::stdout(),
            r#"{{"services":{size},"instances":{INSTANCES},"build_ms":{:.2},"rebuild_ms":{:.2},"node_us":{:.1},"initial_octets":{initial},"change_octets":{change},"keep_octets":{keep_octets},"keep_ms":{:.1}}}"#,
            build.as_secs_f64() * 1e3,
            rebuild.as_secs_f64() * 1e3,
            complete.as_secs_f64() * 1e6,
            keep.as_secs_f64() * 1e3,
        )?;
    }
    Ok(())
}

/// The state of an agent that has received all of a set.
fn kept(set: &ResourceSet) -> Stored {
    let settings = RelaySettings { require_proxy: false, ..RelaySettings::default() };
    let mut relay = Relay::new(settings, Stored::default());
    for kind in ResourceType::ALL {
        let resources = set.of(kind).iter().map(|resource| resource.as_ref().clone()).collect();
        let (nonce, version) = (String::new(), String::new());
        let response = Response { kind, nonce, version, resources, removed: Vec::new(), complete: true };
        relay.receive(response, Instant::now(), &Verdicts::default());
    }
    relay.stored()
}

/// Writes the state as the agent does.
fn write(stored: &Stored) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&stored.encode())?;
    file.as_file().sync_all()?;
    file.persist(std::env::temp_dir().join("boshy-scale-state")).map_err(|error| error.error)?;
    std::fs::File::open(std::env::temp_dir())?.sync_all()
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

fn snapshot(generation: u64, size: usize) -> MeshSnapshot {
    let services: Vec<_> = (0..size).map(|number| Arc::new(numbered(number))).collect();
    mesh::snapshot(generation, &services)
}

fn numbered(number: usize) -> ServicePlan {
    let mut plan = mesh::service("web", 1, &[]).as_ref().clone();
    let address = |base: u32, number: usize| Ipv4Addr::from(base + number as u32);
    plan.vip = address(0x0a80_0000, number);
    plan.service.host =
        Hostname::of_service("web", &format!("group-{number:04}"), "deployment", &Tld::default()).expect("a host name");
    let instance = |index| address(0x0a00_0001, number * INSTANCES + index);
    plan.service.endpoints =
        (0..INSTANCES).map(|index| Endpoint { ip: IpAddr::V4(instance(index)), az: Some("z1".into()) }).collect();
    plan
}

/// Removes one instance. The other services keep their identical values, as in a pilot.
fn with_one_instance_less(before: &MeshSnapshot) -> MeshSnapshot {
    let mut after = before.clone();
    after.generation += 1;
    let services = &mut after.content.services;
    let middle = services.len() / 2;
    let mut changed = services[middle].as_ref().clone();
    changed.service.endpoints.pop();
    services[middle] = Arc::new(changed);
    after
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
