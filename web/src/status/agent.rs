//! Status of the agent.

use std::{collections::BTreeMap, net::SocketAddrV4};

use boshy_dns::{Rcode, StatsSnapshot};
use boshy_mesh::{Hostname, NameTable};
use boshy_supervision::TreeStatus;
use boshy_xds::{RefusalReason, Refusals, ResourceType, SeenRefusal, Side, agent::relay::Nack, inspection::Difference};
use serde::Serialize;

use super::{Lack, Readiness};
use crate::{Page, Report};

/// Status of the agent at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// `ready` and `ready_reason`: whether names are answered and their traffic can flow.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// Resources that are missing, by name.
    pub lacking: Vec<Lack>,
    /// Node id, `sidecar~IP~ID~DOMAIN`.
    pub node: String,
    /// The stream to the pilot, from which the configuration comes.
    pub pilot: PilotLink,
    /// The VM's identity in the mesh.
    pub identity: OwnIdentity,
    /// That the VM is about to stop, and which pilots know; `null` when it is not.
    pub stopping: Option<OwnStop>,
    /// Names known to the DNS server.
    pub names: NamesStatus,
    /// Envoy on this VM.
    pub envoy: EnvoyStatus,
    /// Tunnels of mutual TLS that were not opened.
    pub tunnels: TunnelsStatus,
    /// The redirect of virtual IPs.
    pub rules: RulesStatus,
    /// Counters of the DNS server.
    pub dns: DnsStatus,
    /// Actors and tasks of the supervision tree, with restarts and last exits.
    pub actors: TreeStatus,
}

/// The connection to a pilot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PilotLink {
    /// The pilot in use, or the one tried last.
    pub address: Option<String>,
    /// When the stream was opened; `null` while it is not open.
    pub connected_since: Option<u64>,
    /// Why the last attempt failed; `null` after a success. The configuration received before stays in use.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub remedy: Option<String>,
}

/// The VM's identity, and how it is renewed. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OwnIdentity {
    /// The certificate in use, which may have expired; `null` before the first.
    pub certificate: Option<CertificateStatus>,
    /// Why there is no certificate, or why it cannot be renewed; `null` after a success, and while no pilot has an
    /// authority.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub remedy: Option<String>,
}

/// What a certificate says, and what it is verified with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// Names the instance group: `spiffe://TRUST-DOMAIN/ns/DEPLOYMENT/sa/GROUP`.
    pub spiffe_id: String,
    /// Names the instance: `INSTANCE-ID.TRUST-DOMAIN`.
    pub dns_name: Option<String>,
    /// Serial number in hexadecimal digits.
    pub serial: String,
    /// First second at which it is valid.
    pub not_before: u64,
    /// Last second at which it is valid.
    pub not_after: u64,
    /// When the next one is asked for.
    pub renew_at: u64,
    /// Whether less than a quarter of its life is left.
    pub ends_soon: bool,
    /// SHA-256 fingerprints of the roots that this VM trusts.
    pub roots: Vec<String>,
}

/// The VM is about to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OwnStop {
    /// Since when, in seconds since the Unix epoch.
    pub since: u64,
    /// Pilots that know, so that callers no longer get this VM.
    pub told: Vec<String>,
    /// Pilots that do not know, and why.
    pub untold: BTreeMap<String, String>,
}

/// Names of the mesh on this VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NamesStatus {
    /// Names that are answered, with their addresses.
    pub answered: NameTable,
    /// Names that the pilot has announced and that are not answered yet: Envoy has not accepted their resources, or the
    /// redirect rules for their addresses are not in place.
    pub pending: Vec<Hostname>,
}

/// Envoy on this VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EnvoyStatus {
    /// Whether Envoy has an open stream to the agent.
    pub connected: bool,
    /// Whether Envoy's admin interface reports it as live; `null` when the interface does not answer.
    pub live: Option<bool>,
    /// Last accepted version, by resource type.
    pub accepted: BTreeMap<ResourceType, String>,
    /// The first few resources that Envoy rejects, with Envoy's error text. Each is sent again.
    pub refused: Vec<Nack>,
    /// Number of resources that Envoy rejects.
    pub refusing: usize,
    /// Result of reading back Envoy's configuration.
    pub inspection: InspectionStatus,
}

/// Compares the configuration that Envoy reports with the one that it was sent and has acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InspectionStatus {
    /// Time of the last inspection; `null` before the first.
    pub last: Option<u64>,
    /// The first few resources that differed in the last two inspections. They are sent to Envoy again.
    pub differences: Vec<Difference>,
    /// Number of resources that differed.
    pub differing: usize,
    /// How often a resource was sent again.
    pub repairs: u64,
    /// Why the inspection failed; `null` after a success.
    pub error: Option<String>,
}

impl EnvoyStatus {
    /// Describes one NACK in a sentence.
    pub fn nack_sentence(&self, nack: &Nack) -> String {
        let Nack { kind, name, reason, .. } = nack;
        let more = self.refusing.saturating_sub(1);
        let others = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        format!("Envoy refuses the {} {name}: {reason}{others}", kind.noun())
    }
}

/// Tunnels that were not opened, at both ends of which this VM may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TunnelsStatus {
    /// Their number since the process began.
    pub refused: u64,
    /// Kinds of them, the latest first.
    pub latest_refusals: Vec<SeenRefusal>,
    #[serde(skip)]
    counts: BTreeMap<(Side, RefusalReason), u64>,
}

impl TunnelsStatus {
    /// What is known now.
    pub fn new(refusals: &Refusals) -> Self {
        let counts = refusals.counts();
        Self { refused: counts.values().sum(), latest_refusals: refusals.latest(), counts }
    }

    fn measure(&self, page: &mut Page) {
        let labels = |side: Side, reason: RefusalReason| {
            vec![("side", side.as_str().to_owned()), ("reason", reason.as_str().to_owned())]
        };
        let refused = self.counts.iter().map(|((side, reason), count)| (labels(*side, *reason), *count));
        page.counters(
            "tunnels_refused",
            "Tunnels that were not opened, by the end that tells it and by reason",
            refused,
        );
    }
}

/// The redirect rules in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RulesStatus {
    /// Whether the rules were as wanted at the last check.
    pub in_place: bool,
    /// Pairs of virtual IP and port that are redirected to Envoy.
    pub pairs: usize,
    /// Ports of this VM that are closed to what arrives from outside: those that are reached through the mesh alone, and
    /// captured ones that are closed otherwise.
    pub strict: usize,
    /// Ports of this VM whose connections from outside are led to Envoy.
    pub captured: usize,
    /// Ports that are not captured because Envoy may not use the addresses of callers (`netfilter.original_src`).
    pub not_permitted: Vec<SocketAddrV4>,
    /// How often a foreign change was undone.
    pub drift_repairs: u64,
    /// Why the rules could not be written; `null` after a success.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub remedy: Option<String>,
    /// The route of the virtual-IP range.
    pub route: RouteStatus,
}

/// The route of the virtual-IP range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteStatus {
    /// Whether the route was as wanted at the last check.
    pub in_place: bool,
    /// Why the route could not be written; `null` after a success.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub remedy: Option<String>,
}

/// Counters of DNS messages since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DnsStatus {
    /// Messages received, over UDP and TCP.
    pub queries: u64,
    /// Answers by response code.
    pub answers: BTreeMap<&'static str, u64>,
    /// Answers that the slower path made: unusual questions, and TCP.
    pub fallback: u64,
    /// Messages that get no answer, such as responses.
    pub dropped: u64,
    /// Datagrams that were larger than the buffer.
    pub cut_short: u64,
    /// Answers that the kernel refused to send.
    pub unsent: u64,
    /// TCP connections accepted.
    pub tcp_connections: u64,
    /// Requests from bosh-dns over HTTP.
    pub handler_requests: u64,
}

impl DnsStatus {
    /// Combines the counters of the DNS server and of the bosh-dns handler.
    pub fn new(server: &StatsSnapshot, handler_requests: u64) -> Self {
        Self {
            queries: server.queries,
            answers: Rcode::ALL.map(|rcode| (rcode.as_str(), server.answered(rcode))).into(),
            fallback: server.fallback,
            dropped: server.dropped,
            cut_short: server.cut_short,
            unsent: server.unsent,
            tcp_connections: server.tcp_connections,
            handler_requests,
        }
    }
}

impl Report for AgentStatus {
    fn readiness(&self) -> Result<(), String> {
        self.readiness.verdict()
    }

    fn measure(&self, page: &mut Page) {
        self.readiness.measure(page);
        Lack::measure(&self.lacking, page);
        self.pilot.measure(page);
        self.identity.measure(page);
        page.gauge("stopping", "1 while this VM is about to stop", u64::from(self.stopping.is_some()));
        page.gauge("names_answered", "Names that are answered", self.names.answered.len() as u64);
        page.gauge("names_pending", "Names that wait for Envoy", self.names.pending.len() as u64);
        self.envoy.measure(page);
        self.tunnels.measure(page);
        self.rules.measure(page);
        self.dns.measure(page);
        page.tree(&self.actors);
    }
}

impl PilotLink {
    fn measure(&self, page: &mut Page) {
        let connected = self.connected_since.is_some();
        page.gauge("pilot_connected", "1 while the stream to a pilot is open", u64::from(connected));
        let since = self.connected_since.map(|at| (Vec::new(), at));
        page.gauges("pilot_connected_timestamp_seconds", "When the stream to a pilot was opened", since);
    }
}

impl OwnIdentity {
    fn measure(&self, page: &mut Page) {
        let of = |value: fn(&CertificateStatus) -> u64| self.certificate.as_ref().map(|one| (Vec::new(), value(one)));
        let (end, renewal) = (of(|one| one.not_after), of(|one| one.renew_at));
        page.gauges("certificate_expiry_timestamp_seconds", "When the VM's certificate expires", end);
        page.gauges("certificate_renewal_timestamp_seconds", "When the next certificate is asked for", renewal);
        let soon = of(|one| u64::from(one.ends_soon));
        page.gauges("certificate_ends_soon", "1 when less than a quarter of the certificate's life is left", soon);
        let refused = u64::from(self.error.is_some());
        page.gauge("certificate_unanswered", "1 when the last request for a certificate has failed", refused);
    }
}

impl EnvoyStatus {
    fn measure(&self, page: &mut Page) {
        page.gauge("envoy_connected", "1 while Envoy holds the local stream open", u64::from(self.connected));
        let live = self.live.map(|live| (Vec::new(), u64::from(live)));
        page.gauges("envoy_live", "1 when Envoy's admin interface says that it is live", live);
        let InspectionStatus { differing, repairs, .. } = &self.inspection;
        page.gauge("envoy_differing", "Resources that Envoy has otherwise than it acknowledged", *differing as u64);
        page.counter("envoy_repairs", "Resources that Envoy was told of again because it had them otherwise", *repairs);
        page.gauge("envoy_refused", "Resources that Envoy refuses, and that are tried again", self.refusing as u64);
    }
}

impl RulesStatus {
    fn measure(&self, page: &mut Page) {
        page.gauge("rules_in_place", "1 when the redirect rules are as wanted", u64::from(self.in_place));
        page.gauge("rules_pairs", "Pairs of virtual IP and port that are led to the proxy", self.pairs as u64);
        page.counter(
            "rules_drift_repairs",
            "Changes by others to the redirect rules that were undone",
            self.drift_repairs,
        );
        page.gauge(
            "route_in_place",
            "1 when the route of the virtual IPs is as wanted",
            u64::from(self.route.in_place),
        );
    }
}

impl DnsStatus {
    fn measure(&self, page: &mut Page) {
        page.counter("dns_queries", "Messages received, over UDP and TCP", self.queries);
        let answers = self.answers.iter().map(|(rcode, count)| (vec![("rcode", (*rcode).to_owned())], *count));
        page.counters("dns_answers", "Answers by response code", answers);
        page.counter("dns_fallback", "Answers that took the slower way", self.fallback);
        page.counter("dns_dropped", "Messages that got no answer", self.dropped);
        page.counter("dns_cut_short", "Datagrams too large to be read whole", self.cut_short);
        page.counter("dns_unsent", "Answers that the kernel refused to send", self.unsent);
        page.counter("dns_tcp_connections", "TCP connections accepted", self.tcp_connections);
        page.counter("handler_requests", "Requests of bosh-dns over HTTP", self.handler_requests);
    }
}
