//! Status of the pilot.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use boshy_mesh::{
    AvailabilityZone, Endpoint, Hostname, MeshSnapshot, PolicyConfig, Port, Problem, ServicePlan, VipRange,
};
use boshy_supervision::TreeStatus;
use boshy_xds::ProxyStatus;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;

use super::{
    Lack, Readiness,
    mtls::{IdentityStatus, MtlsStatus, ReportStatus},
};
use crate::{Page, Report};

/// Status of the pilot at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PilotStatus {
    /// `ready` and `ready_reason`: whether the mesh is known.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// Resources that are missing, by name.
    pub lacking: Vec<Lack>,
    /// The snapshot that is served.
    pub snapshot: SnapshotStatus,
    /// How far the proxies have accepted it.
    pub convergence: ConvergenceStatus,
    /// Source of the facts.
    pub director: DirectorStatus,
    /// Each deployment of the director.
    pub deployments: Vec<DeploymentStatus>,
    /// Each of the director's configs that is written for the mesh.
    pub configs: Vec<ConfigStatus>,
    /// Problems that an operator should correct.
    pub problems: Vec<Problem>,
    /// Use of the virtual-IP range.
    pub pool: PoolStatus,
    /// Services, sorted by name.
    pub services: Vec<ServiceStatus>,
    /// Actors and tasks of the supervision tree, with restarts and last exits.
    pub actors: TreeStatus,
    /// State of the port on which proxies connect.
    pub xds: XdsStatus,
    /// Certificates of workloads; `null` without an authority.
    pub identity: Option<IdentityStatus>,
    /// How far mutual TLS is; `null` without an authority.
    pub mtls: Option<MtlsStatus>,
    /// What the agents report of their VMs; only those that have a certificate do.
    pub reports: Vec<ReportStatus>,
    /// Instances that are about to stop, as their agents say.
    pub stopping: Vec<StopStatus>,
    /// Proxies with an open stream.
    pub proxies: Vec<ProxyStatus>,
}

/// An instance that is about to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StopStatus {
    /// Id of the instance.
    pub instance: String,
    /// Seconds since its agent has last said so.
    pub age: u64,
}

/// State of the port on which proxies connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct XdsStatus {
    /// Whether proxies must present a certificate.
    pub tls: bool,
    /// Refused connections since the process began, by reason. The log names the address of each.
    pub refused: BTreeMap<&'static str, u64>,
    /// Refused streams since the process began whose node id contradicts the certificate. The log names each.
    pub foreign: u64,
}

/// The snapshot that is being served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotStatus {
    /// Generation; 0 until the director has been read.
    pub generation: u64,
    /// Content hash; equal on pilots that serve the same content.
    pub hash: String,
    /// Number of services.
    pub services: u64,
    /// Number of endpoints of all services.
    pub endpoints: u64,
}

/// How far the proxies have accepted the newest generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConvergenceStatus {
    /// The generation; 0 until there is one.
    pub generation: u64,
    /// Connected proxies that have not accepted it completely.
    pub behind: u64,
    /// Proxies that were connected when it was published and have accepted it completely. `null` until the last of them
    /// has, and when no proxy was connected.
    pub proxies: Option<u64>,
    /// Time from its publication until the last of them accepted it; `null` as above.
    pub milliseconds: Option<u64>,
}

/// The director, and how well it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectorStatus {
    /// URL as in the settings, without credentials.
    pub url: String,
    /// When it was last read successfully.
    pub last_success: Option<u64>,
    /// Why the last attempt failed; `null` after a success.
    pub error: Option<String>,
}

/// A deployment, and whether its facts are current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeploymentStatus {
    /// Name of the deployment.
    pub name: String,
    /// When the facts in use were read.
    pub last_good: Option<u64>,
    /// Why newer facts could not be read. The last good ones stay in use.
    pub error: Option<String>,
}

/// A config that is written for the mesh, and which version of it applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    /// Name of the config.
    pub name: String,
    /// Id of its latest version.
    pub latest: String,
    /// Id of the version that applies; `null` when none does.
    pub applied: Option<String>,
    /// Why the latest version does not apply; `null` when it does. `problems` says all that is wrong in it.
    pub error: Option<String>,
}

/// Use of the virtual-IP range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolStatus {
    /// Range from which virtual IPs are given, as in the settings.
    pub range: VipRange,
    /// Number of usable addresses.
    pub capacity: u64,
    /// Number of services with an address.
    pub held: u64,
    /// Number of released addresses in quarantine.
    pub resting: u64,
    /// Services without an address, because none is free or their deployment has reached its share. `problems` names
    /// the reason.
    pub refused: Vec<Hostname>,
    /// Services whose address is not published yet, because the table of leases cannot be written.
    pub unwritten: Vec<Hostname>,
}

/// A service as the mesh serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Name of the service.
    pub host: Hostname,
    /// Virtual IP to which its name resolves.
    pub vip: Ipv4Addr,
    /// Ports that its jobs expose, in the order of the manifest.
    pub ports: Vec<Port>,
    /// Numbers of the ports that callers in the mesh reach over mutual TLS. The others are reached in plaintext.
    pub tunnelled: Vec<u16>,
    /// Its instances.
    pub endpoints: Vec<EndpointStatus>,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// Address of the VM.
    pub ip: IpAddr,
    /// Its availability zone.
    pub az: AvailabilityZone,
    /// Whether callers do not get it, because it is about to stop.
    pub withdrawn: bool,
}

impl From<&MeshSnapshot> for SnapshotStatus {
    fn from(snapshot: &MeshSnapshot) -> Self {
        let services = &snapshot.content.services;
        Self {
            generation: snapshot.generation,
            hash: snapshot.hash.clone(),
            services: services.len() as u64,
            endpoints: services.iter().map(|plan| plan.service.endpoints.len() as u64).sum(),
        }
    }
}

impl From<&ServicePlan> for ServiceStatus {
    fn from(plan: &ServicePlan) -> Self {
        Self {
            host: plan.host().clone(),
            vip: plan.vip,
            ports: plan.service.ports.clone(),
            tunnelled: plan.tunnel.iter().flat_map(|tunnel| tunnel.ports.iter().copied()).collect(),
            endpoints: plan.service.endpoints.iter().map(|endpoint| EndpointStatus::of(endpoint, plan)).collect(),
        }
    }
}

impl From<&PolicyConfig> for ConfigStatus {
    fn from(config: &PolicyConfig) -> Self {
        Self {
            name: config.name.clone(),
            latest: config.latest.clone(),
            applied: config.applied.as_ref().map(|applied| applied.version.clone()),
            error: config.problems.first().map(ToString::to_string),
        }
    }
}

impl EndpointStatus {
    fn of(endpoint: &Endpoint, plan: &ServicePlan) -> Self {
        let withdrawn = plan.withdrawn.contains(&endpoint.workload.id);
        Self { ip: endpoint.ip, az: endpoint.workload.az.clone(), withdrawn }
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
        let wrong = |config: &ConfigStatus| (vec![("config", config.name.clone())], u64::from(config.error.is_some()));
        page.gauges(
            "config_failing",
            "1 while a config's last right version stands in for a wrong one",
            self.configs.iter().map(wrong),
        );
        page.gauge("problems", "Places that an operator should mend", self.problems.len() as u64);
        self.pool.measure(page);
        self.measure_services(page);
        page.tree(&self.actors);
        let refused = self.xds.refused.iter().map(|(reason, count)| (vec![("reason", (*reason).to_owned())], *count));
        page.counters("xds_refused", "Connections refused for want of a trusted certificate, by reason", refused);
        page.counter("xds_foreign", "Streams refused for a node id that contradicts the certificate", self.xds.foreign);
        if let Some(identity) = &self.identity {
            identity.measure(page);
        }
        self.measure_proxies(page);
        if let Some(mtls) = &self.mtls {
            page.gauge("ports_changing", "Ports that are not yet where their mode leads", mtls.changing.len() as u64);
        }
        page.gauge("agents_reporting", "Agents that report to this pilot", self.reports.len() as u64);
        let able = self.reports.iter().filter(|report| report.able).count() as u64;
        page.gauge("agents_able", "Agents that report that their Envoy accepts tunnels", able);
        page.gauge("instances_stopping", "Instances that are about to stop", self.stopping.len() as u64);
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

    /// Counted by flavour and type, not by proxy: one line per VM would outgrow the rest of the page.
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

/// The JSON string of a unit variant.
fn word(variant: &impl Serialize) -> String {
    let quoted = serde_json::to_string(variant).expect("a unit variant is a string");
    quoted.trim_matches('"').to_owned()
}
