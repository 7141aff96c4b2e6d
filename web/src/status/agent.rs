//! The agent of itself.

use std::collections::BTreeMap;

use boshy_dns::{Rcode, StatsSnapshot};
use boshy_mesh::{Hostname, NameTable};
use boshy_supervision::TreeStatus;
use boshy_xds::{ResourceType, inspection::Difference, relay::Refusal};
use serde::Serialize;

use super::{Lack, Readiness};
use crate::{Page, Report};

/// The agent at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// `ready` and `ready_reason`: whether names answer and their traffic can flow.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// What it has to do without, by name.
    pub lacking: Vec<Lack>,
    /// Node id, `sidecar~IP~ID~DOMAIN`.
    pub node: String,
    /// Where configuration comes from.
    pub pilot: PilotLink,
    /// What DNS knows.
    pub names: NamesStatus,
    /// The proxy on this VM.
    pub envoy: EnvoyStatus,
    /// The redirect of virtual IPs.
    pub rules: RulesStatus,
    /// What DNS was asked.
    pub dns: DnsStatus,
    /// The supervised actors.
    pub actors: TreeStatus,
}

/// The connection to a pilot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PilotLink {
    /// The pilot in use, or the one tried last.
    pub address: Option<String>,
    /// Since when the stream is open; `null` while it is not.
    pub connected_since: Option<u64>,
    /// Why the last attempt failed; `null` when it did not. What was received before stays in use.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub remedy: Option<String>,
}

/// Names of the mesh on this VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NamesStatus {
    /// Names that are answered, with their addresses.
    pub answered: NameTable,
    /// Names that the pilot has announced and that wait for Envoy to accept what is behind them, or for connections to their
    /// addresses to be led to it.
    pub pending: Vec<Hostname>,
}

/// The proxy on this VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EnvoyStatus {
    /// Whether it holds the local stream open.
    pub connected: bool,
    /// Whether its admin interface says that it is live; `null` when that does not answer.
    pub live: Option<bool>,
    /// Version accepted last, by type.
    pub accepted: BTreeMap<ResourceType, String>,
    /// What Envoy refuses, the first few of it, with its words. Each is tried again.
    pub refused: Vec<Refusal>,
    /// How many resources it refuses.
    pub refusing: usize,
    /// What it has, by its own account.
    pub inspection: InspectionStatus,
}

/// How what Envoy says that it has compares with what it was served and acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InspectionStatus {
    /// When it was looked at last; `null` before.
    pub last: Option<u64>,
    /// What differed in the last two looks, the first few of it. Envoy is told of it again.
    pub differences: Vec<Difference>,
    /// How much differed.
    pub differing: usize,
    /// How often Envoy was told again of a resource.
    pub repairs: u64,
    /// Why it could not be looked at; `null` when it could.
    pub error: Option<String>,
}

impl EnvoyStatus {
    /// One refusal as a sentence.
    pub fn refusal(&self, refusal: &Refusal) -> String {
        let Refusal { kind, name, reason, .. } = refusal;
        let more = self.refusing.saturating_sub(1);
        let others = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        format!("Envoy refuses the {} {name}: {reason}{others}", kind.noun())
    }
}

/// The redirect rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RulesStatus {
    /// Whether they were found as wanted when last looked at.
    pub in_place: bool,
    /// Pairs of virtual IP and port that are led to the proxy.
    pub pairs: usize,
    /// How often somebody else's change was undone.
    pub drift_repairs: u64,
    /// Why they could not be written; `null` when they could.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub remedy: Option<String>,
    /// The route of the virtual-IP range.
    pub route: RouteStatus,
}

/// The route of the virtual-IP range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteStatus {
    /// Whether it was found as wanted when last looked at.
    pub in_place: bool,
    /// Why it could not be written; `null` when it could.
    pub error: Option<String>,
    /// What an operator can do about it.
    pub remedy: Option<String>,
}

/// Questions and answers since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DnsStatus {
    /// Messages received, over UDP and TCP.
    pub queries: u64,
    /// Answers by response code.
    pub answers: BTreeMap<&'static str, u64>,
    /// Answers that took the slower way: unusual questions, and TCP.
    pub fallback: u64,
    /// Messages that got no answer, because they were none to answer.
    pub dropped: u64,
    /// Datagrams that were too large to be read whole.
    pub cut_short: u64,
    /// Answers that the kernel refused to send.
    pub unsent: u64,
    /// TCP connections accepted.
    pub tcp_connections: u64,
    /// Requests that bosh-dns made over HTTP.
    pub handler_requests: u64,
}

impl DnsStatus {
    /// The counters of the DNS server and of the handler for bosh-dns.
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
        page.gauge("names_answered", "Names that are answered", self.names.answered.len() as u64);
        page.gauge("names_pending", "Names that wait for Envoy", self.names.pending.len() as u64);
        self.envoy.measure(page);
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
