//! The agent's status, gathered from what its actors publish.

use std::sync::Arc;

use arc_swap::ArcSwap;
use boshy_config::ProxyMode;
use boshy_dns::Stats;
use boshy_supervision::TreeStatus;
use boshy_web::{
    handler::HandlerView,
    status::{AgentStatus, DnsStatus, EnvoyRejection, EnvoyStatus, NamesStatus, PilotLink, Readiness, RulesStatus},
};
use boshy_xds::{
    Proxies, ResourceType,
    client::{ExchangeStatus, Outlets},
};
use tokio::sync::watch;

/// Where everything is read.
pub(crate) struct Reports {
    pub(crate) node: String,
    pub(crate) proxy: ProxyMode,
    pub(crate) redirects: bool,
    pub(crate) outlets: Outlets,
    pub(crate) proxies: Proxies,
    pub(crate) live: Arc<ArcSwap<Option<bool>>>,
    pub(crate) rules: Arc<ArcSwap<RulesStatus>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) handler: HandlerView,
    pub(crate) actors: watch::Receiver<Arc<TreeStatus>>,
}

impl Reports {
    pub(crate) fn report(&self) -> AgentStatus {
        let exchange = self.outlets.status.borrow().clone();
        let names = NamesStatus {
            answered: self.outlets.names.borrow().as_ref().clone(),
            pending: self.outlets.stored.borrow().waiting().iter().map(|(host, _)| host.clone()).collect(),
        };
        let envoy = self.envoy();
        let rules = self.rules.load().as_ref().clone();
        AgentStatus {
            readiness: self.readiness(&exchange, &names, &envoy, &rules),
            node: self.node.clone(),
            pilot: pilot_link(exchange),
            names,
            envoy,
            rules,
            dns: DnsStatus::new(&self.stats.snapshot(), self.handler.requests()),
            actors: self.actors.borrow().as_ref().clone(),
        }
    }

    fn readiness(
        &self,
        exchange: &ExchangeStatus,
        names: &NamesStatus,
        envoy: &EnvoyStatus,
        rules: &RulesStatus,
    ) -> Readiness {
        let known = exchange.known.contains(&ResourceType::Names) || !names.answered.is_empty();
        if !known {
            Readiness::waiting("no pilot has told all names yet, and nothing was kept from before")
        } else if self.redirects && !(rules.in_place && rules.route.in_place) {
            Readiness::waiting("the redirect rules or the route are not in place")
        } else if self.proxy == ProxyMode::Required && !envoy.connected {
            Readiness::waiting("the local Envoy is not connected")
        } else if !names.pending.is_empty() {
            Readiness::waiting(format!("{} names wait for the local Envoy", names.pending.len()))
        } else {
            Readiness::ready()
        }
    }

    fn envoy(&self) -> EnvoyStatus {
        let statuses = self.proxies.list();
        let types = statuses.iter().flat_map(|proxy| &proxy.types);
        let accepted = types.clone().filter_map(|(kind, status)| Some((*kind, status.accepted.clone()?))).collect();
        let last_rejection = types
            .filter_map(|(kind, status)| Some(EnvoyRejection { kind: *kind, rejection: status.rejected.clone()? }))
            .max_by_key(|rejection| rejection.rejection.at);
        EnvoyStatus { connected: !statuses.is_empty(), live: **self.live.load(), accepted, last_rejection }
    }
}

fn pilot_link(exchange: ExchangeStatus) -> PilotLink {
    let connected_since = exchange.pilot.is_some().then_some(exchange.since);
    PilotLink {
        error: exchange.last_error.filter(|_| exchange.pilot.is_none()),
        address: exchange.pilot,
        connected_since,
    }
}
