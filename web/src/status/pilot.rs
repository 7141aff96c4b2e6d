//! The pilot of itself.

use std::{collections::BTreeMap, net::Ipv4Addr};

use boshy_mesh::{Endpoint, Hostname, MeshService, MeshSnapshot, Port, Problem, VipRange};
use boshy_supervision::TreeStatus;
use boshy_xds::ProxyStatus;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;

use super::{Lack, Readiness};
use crate::{Page, Report};

/// The pilot at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PilotStatus {
    /// `ready` and `ready_reason`: whether the mesh is known.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// What it has to do without, by name.
    pub lacking: Vec<Lack>,
    /// What is being served.
    pub snapshot: SnapshotStatus,
    /// How far it has come.
    pub convergence: ConvergenceStatus,
    /// Where facts come from.
    pub director: DirectorStatus,
    /// Each deployment of the director.
    pub deployments: Vec<DeploymentStatus>,
    /// What an operator should mend.
    pub problems: Vec<Problem>,
    /// Virtual IPs.
    pub pool: PoolStatus,
    /// What is exposed, sorted by name.
    pub services: Vec<ServiceStatus>,
    /// The supervised actors.
    pub actors: TreeStatus,
    /// The port that proxies connect to.
    pub xds: XdsStatus,
    /// Proxies that are connected.
    pub proxies: Vec<ProxyStatus>,
}

/// The port that proxies connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct XdsStatus {
    /// Whether proxies have to show a certificate there.
    pub tls: bool,
    /// Connections refused since the process began, by reason; each is in the log with its address.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The snapshot that is being served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotStatus {
    /// 0 until the director has been read.
    pub generation: u64,
    /// Equal on pilots that serve the same.
    pub hash: String,
    /// How many services it holds.
    pub services: u64,
    /// How many endpoints they have together.
    pub endpoints: u64,
}

/// How the newest generation is accepted by the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConvergenceStatus {
    /// Which one; 0 until there is one.
    pub generation: u64,
    /// Connected proxies that have not accepted all of it.
    pub behind: u64,
    /// How many were connected when it was published and have accepted all of it; `null` until the last of them has, and when
    /// nobody was there.
    pub proxies: Option<u64>,
    /// From its publication until the last of them had; `null` as above.
    pub milliseconds: Option<u64>,
}

/// The director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectorStatus {
    /// Where it is.
    pub url: String,
    /// When it was last read.
    pub last_success: Option<u64>,
    /// Why the last attempt failed; `null` when it did not.
    pub error: Option<String>,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeploymentStatus {
    /// Its name.
    pub name: String,
    /// When the facts that are in use were read.
    pub last_good: Option<u64>,
    /// Why newer facts could not be read; the last good ones stay in use.
    pub error: Option<String>,
}

/// The virtual IPs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// Where they come from.
    pub range: VipRange,
    /// How many there can be.
    pub capacity: u64,
    /// How many services have one.
    pub held: u64,
    /// How many were released and rest before reuse.
    pub resting: u64,
    /// Services that got none, because none was free or their deployment has its share; `problems` says which.
    pub refused: Vec<Hostname>,
    /// Services whose address is not told yet, because the table of leases cannot be written.
    pub unwritten: Vec<Hostname>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub host: Hostname,
    /// Its address in the mesh.
    pub vip: Ipv4Addr,
    /// What it exposes.
    pub ports: Vec<Port>,
    /// Its instances.
    pub endpoints: Vec<Endpoint>,
}

impl From<&MeshSnapshot> for SnapshotStatus {
    fn from(snapshot: &MeshSnapshot) -> Self {
        let services = &snapshot.content.services;
        Self {
            generation: snapshot.generation,
            hash: snapshot.hash.clone(),
            services: services.len() as u64,
            endpoints: services.iter().map(|service| service.service.endpoints.len() as u64).sum(),
        }
    }
}

impl From<&MeshService> for ServiceStatus {
    fn from(service: &MeshService) -> Self {
        Self {
            host: service.host().clone(),
            vip: service.vip,
            ports: service.service.ports.clone(),
            endpoints: service.service.endpoints.clone(),
        }
    }
}

impl Report for PilotStatus {
    fn readiness(&self) -> Result<(), String> {
        self.readiness.verdict()
    }

    fn measure(&self, page: &mut Page) {
        self.readiness.measure(page);
        Lack::measure(&self.lacking, page);
        self.snapshot.measure(page);
        self.convergence.measure(page);
        self.director.measure(page);
        self.measure_deployments(page);
        page.gauge("problems", "Places that an operator should mend", self.problems.len() as u64);
        self.pool.measure(page);
        self.measure_services(page);
        page.tree(&self.actors);
        let refused = self.xds.refused.iter().map(|(reason, count)| (vec![("reason", (*reason).to_owned())], *count));
        page.counters("xds_refused", "Connections refused for want of a trusted certificate, by reason", refused);
        self.measure_proxies(page);
    }
}

impl PilotStatus {
    fn measure_deployments(&self, page: &mut Page) {
        let labels = |deployment: &DeploymentStatus| vec![("deployment", deployment.name.clone())];
        let read = self.deployments.iter().filter_map(|each| Some((labels(each), each.last_good?)));
        page.gauges("deployment_last_good_timestamp_seconds", "When the facts in use were read", read);
        let failing = self.deployments.iter().map(|each| (labels(each), u64::from(each.error.is_some())));
        page.gauges("deployment_failing", "1 while a deployment's last good facts stand in for newer ones", failing);
    }

    fn measure_services(&self, page: &mut Page) {
        let endpoints = self
            .services
            .iter()
            .map(|service| (vec![("service", service.host.to_string())], service.endpoints.len() as u64));
        page.gauges("service_endpoints", "Instances of a service", endpoints);
    }

    /// By flavour and by type, not by proxy: a line for each VM would outgrow everything else on the page.
    fn measure_proxies(&self, page: &mut Page) {
        let mut connected = BTreeMap::new();
        let mut rejecting = BTreeMap::new();
        for proxy in &self.proxies {
            *connected.entry(word(&proxy.flavour)).or_default() += 1;
            for (kind, status) in &proxy.types {
                *rejecting.entry(word(kind)).or_default() += u64::from(status.rejected.is_some());
            }
        }
        let rows = |label: &'static str, counts: BTreeMap<String, u64>| {
            counts.into_iter().map(move |(value, count)| (vec![(label, value)], count))
        };
        page.gauges("proxies_connected", "Proxies on an open stream", rows("flavour", connected));
        page.gauges("proxies_rejecting", "Proxies that refused the last version sent", rows("type", rejecting));
    }
}

impl SnapshotStatus {
    fn measure(&self, page: &mut Page) {
        page.gauge("snapshot_generation", "Generation of the snapshot that is served", self.generation);
        page.gauges(
            "snapshot_info",
            "Always 1; the content hash is the label",
            [(vec![("hash", self.hash.clone())], 1)],
        );
        page.gauge("snapshot_services", "Services in the snapshot", self.services);
        page.gauge("snapshot_endpoints", "Endpoints in the snapshot", self.endpoints);
    }
}

impl ConvergenceStatus {
    fn measure(&self, page: &mut Page) {
        page.gauge("proxies_behind", "Proxies that have not accepted all of the newest snapshot", self.behind);
        if let Some(milliseconds) = self.milliseconds {
            let help = "From the publication of the newest snapshot until every proxy had accepted it";
            page.register("convergence_seconds", help, ConstGauge::new(milliseconds as f64 / 1000.0));
        }
    }
}

impl DirectorStatus {
    fn measure(&self, page: &mut Page) {
        let read = self.last_success.map(|at| (Vec::new(), at));
        page.gauges("director_last_success_timestamp_seconds", "When the director was last read", read);
        page.gauge("director_failing", "1 while the director cannot be read", u64::from(self.error.is_some()));
    }
}

impl PoolStatus {
    fn measure(&self, page: &mut Page) {
        page.gauge("vips_capacity", "Virtual IPs that there can be", self.capacity);
        page.gauge("vips_held", "Virtual IPs of services", self.held);
        page.gauge("vips_resting", "Virtual IPs that rest before reuse", self.resting);
        page.gauge("vips_refused", "Services that got no virtual IP", self.refused.len() as u64);
        let unwritten = self.unwritten.len() as u64;
        page.gauge("vips_unwritten", "Services whose virtual IP cannot be written down", unwritten);
    }
}

/// The word that a unit variant has in JSON.
fn word(variant: &impl Serialize) -> String {
    let quoted = serde_json::to_string(variant).expect("a unit variant is a string");
    quoted.trim_matches('"').to_owned()
}
