//! The agent's status, collected from what its actors publish.

use std::{collections::BTreeSet, net::SocketAddrV4, sync::Arc};

use boshy_config::{AgentSettings, ProxyMode};
use boshy_supervision::TreeStatus;
use boshy_vm::NoAddress;
use boshy_web::{
    handler::HandlerView,
    status::{
        AgentStatus, DnsStatus, EnvoyStatus, NamesStatus, OwnIdentity, PilotLink, Readiness, RulesStatus, TunnelsStatus,
    },
};
use boshy_xds::{CAPTURE_LISTENER, ResourceType, agent::ExchangeStatus};
use tokio::sync::watch;

use crate::{
    agent_state::AgentState,
    clock,
    identity_keeper::{Failure, Unanswered},
    server_socket::ServerSocket,
    start,
};

/// A missing resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Name of the resource.
    pub(crate) what: &'static str,
    /// Why it is missing.
    pub(crate) reason: String,
    /// What an operator can do.
    pub(crate) remedy: String,
}

/// A socket, and what does not work while another process holds it.
pub(crate) struct Socket {
    what: &'static str,
    address: String,
    cost: &'static str,
    trouble: Box<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Socket {
    pub(crate) fn new<S: Send + Sync + 'static>(
        what: &'static str,
        socket: ServerSocket<S>,
        address: String,
        cost: &'static str,
    ) -> Self {
        Self { what, address, cost, trouble: Box::new(move || socket.trouble()) }
    }

    fn want(&self) -> Option<Want> {
        let reason = format!("{}; until then {}", (self.trouble)()?, self.cost);
        let Self { what, address, .. } = self;
        let remedy = format!(
            "See who holds {address} (`ss -lntup`, `ss -lxp`) and give one of both another, here by the property {what}.port; it is \
             taken up by itself once it is free."
        );
        Some(Want { what, reason, remedy })
    }
}

/// Sources of the status.
pub(crate) struct Reports {
    pub(crate) settings: AgentSettings,
    pub(crate) state: AgentState,
    pub(crate) sockets: Vec<Socket>,
    /// Names of the pilots.
    pub(crate) pilots: BTreeSet<String>,
    /// What is wrong with the log's settings.
    pub(crate) log_trouble: Option<String>,
    pub(crate) handler: HandlerView,
    pub(crate) actors: watch::Receiver<Arc<TreeStatus>>,
}

impl Reports {
    pub(crate) fn report(&self) -> AgentStatus {
        let exchange = self.state.outlets.status.borrow().clone();
        let answered = self.state.answered.borrow().as_ref().clone();
        let (ready, waiting) =
            (Arc::clone(&self.state.outlets.names.borrow()), self.state.outlets.stored.borrow().waiting());
        let withheld = ready.iter().filter(|(host, _)| answered.get(host.as_str()).is_none());
        // Names that wait for rules are reported by the rules. A name on its way from one actor to the next does not
        // affect readiness.
        let awaited = waiting.len();
        let pending = waiting.iter().chain(withheld).map(|(host, _)| host.clone()).collect();
        let names = NamesStatus { answered, pending };
        let envoy = self.envoy();
        let rules = self.state.rules.load().as_ref().clone();
        AgentStatus {
            readiness: self.readiness(&exchange, &names, awaited, &envoy, &rules),
            lacking: self.state.lacking.load().as_ref().clone(),
            node: self.settings.node.id_at(*self.state.address.borrow()).to_string(),
            pilot: pilot_link(exchange),
            identity: self.identity(),
            stopping: self.state.withdrawal.status(&self.pilots),
            names,
            envoy,
            tunnels: TunnelsStatus::new(&self.state.refusals),
            rules,
            dns: DnsStatus::new(&self.state.stats.snapshot(), self.handler.requests()),
            actors: self.actors.borrow().as_ref().clone(),
        }
    }

    /// Resources that are missing now, without the time since when.
    pub(crate) fn wanting(&self) -> Vec<Want> {
        let pilot = pilot_link(self.state.outlets.status.borrow().clone());
        let told = self.state.outlets.status.borrow().told.clone();
        let otherwise = told.and_then(|told| told.difference(&self.settings.tld, self.settings.vip_range)).map(|difference| Want {
            what: "settings",
            reason: difference,
            remedy: "Give pilot and agents the same values: names of another zone are not answered here, and addresses of another range are not redirected.".to_owned(),
        });
        let (envoy, rules) = (self.envoy(), self.state.rules.load());
        let want = |what, reason: &Option<String>, remedy: &Option<String>| {
            Some(Want { what, reason: reason.clone()?, remedy: remedy.clone().unwrap_or_default() })
        };
        let no_envoy = || Want {
            what: "envoy",
            reason: match envoy.live {
                None => {
                    format!(
                        "no Envoy is connected to {}, and none answers as its admin",
                        self.settings.ads_socket.display()
                    )
                }
                Some(_) => format!("Envoy runs and is not connected to {}", self.settings.ads_socket.display()),
            },
            remedy: format!(
                "Start the job bosh-envoy on this VM, with the directory of {} shared with it; or set `envoy.mode` to absent.",
                self.settings.ads_socket.display()
            ),
        };
        let no_disk = |reason: &String| Want {
            what: "disk",
            reason: reason.clone(),
            remedy: format!(
                "Make {} writable for the agent, with room on the disk; until then a restart without a pilot begins with older state.",
                self.settings.state_dir.display()
            ),
        };
        let difference = || {
            envoy.inspection.differences.first().map(|first| Want {
                what: "difference",
                reason: match envoy.inspection.differing {
                    1 => first.sentence(),
                    more => format!("{} (and {} more)", first.sentence(), more - 1),
                },
                remedy: "Wait: Envoy is told again by itself. If it goes on, restart the job bosh-envoy.".to_owned(),
            })
        };
        let refused = || {
            self.state.outlets.status.borrow().nacks.first().map(|first| Want {
            what: "configuration",
            reason: envoy.nack_sentence(first),
            remedy: "Mend what Envoy names, such as a port that another process has; it is tried again by itself, at least every 30 s.".to_owned(),
        })
        };
        let no_address = |missing: NoAddress| Want {
            what: "address",
            reason: missing.to_string(),
            remedy: missing.remedy().to_owned(),
        };
        let no_end = |(reason, remedy): &(String, &str)| Want {
            what: "peers",
            reason: format!(
                "{reason}; a connection with data on the way to an instance that has vanished ends after a quarter of an hour"
            ),
            remedy: (*remedy).to_owned(),
        };
        let set_otherwise = |reason: &String| Want {
            what: "envoy_settings",
            reason: reason.clone(),
            remedy: "Give the jobs virtual-ip-agent and bosh-envoy the same value; until then each acts by its own."
                .to_owned(),
        };
        let no_identity = || {
            let trouble = self.state.uncertified.load();
            let held = self.state.held.borrow().clone();
            trouble
                .want(held.issued().map(|issued| &issued.leaf), clock::now())
                .map(|Failure { reason, remedy }| Want { what: "identity", reason, remedy })
        };
        let sockets = self.sockets.iter().map(Socket::want);
        let others = [
            self.state.missing.load().map(no_address),
            want("pilot", &pilot.error, &pilot.remedy),
            no_identity(),
            (self.settings.proxy == ProxyMode::Required && !envoy.connected).then(no_envoy),
            refused(),
            difference(),
            otherwise,
            self.state.set_otherwise.load().as_ref().as_ref().map(set_otherwise),
            rules.not_permitted.first().map(|first| not_permitted(first, rules.not_permitted.len())),
            want("rules", &rules.error, &rules.remedy),
            want("route", &rules.route.error, &rules.route.remedy),
            self.state.peers.load().as_ref().as_ref().map(no_end),
            self.state.unkept.load().as_ref().as_ref().map(no_disk),
            self.log_trouble.clone().map(|reason| Want { what: "log", reason, remedy: start::LOG_REMEDY.to_owned() }),
        ];
        sockets.chain(others).flatten().collect()
    }

    fn readiness(
        &self,
        exchange: &ExchangeStatus,
        names: &NamesStatus,
        awaited: usize,
        envoy: &EnvoyStatus,
        rules: &RulesStatus,
    ) -> Readiness {
        let known = exchange.known.contains(&ResourceType::Names) || !names.answered.is_empty();
        let address = *self.state.address.borrow();
        if let (None, Some(missing)) = (address, **self.state.missing.load()) {
            Readiness::waiting(missing.to_string())
        } else if let Some(socket) = self.sockets.iter().find(|socket| (socket.trouble)().is_some()) {
            Readiness::waiting(format!("{} is taken: {}", socket.address, socket.cost))
        } else if !known {
            Readiness::waiting("no pilot has told all names yet, and nothing was kept from before")
        } else if self.settings.redirects() && !(rules.in_place && rules.route.in_place) {
            Readiness::waiting("the redirect rules or the route are not in place")
        } else if self.settings.proxy == ProxyMode::Required && !envoy.connected {
            Readiness::waiting("the local Envoy is not connected")
        } else if let Some(nack) = envoy.refused.iter().find(|nack| &*nack.name == CAPTURE_LISTENER) {
            Readiness::waiting(envoy.nack_sentence(nack))
        } else if awaited > 0 {
            Readiness::waiting(format!("{awaited} names wait for the local Envoy"))
        } else {
            Readiness::ready()
        }
    }

    fn identity(&self) -> OwnIdentity {
        let (held, trouble) = (self.state.held.borrow().clone(), self.state.uncertified.load());
        let failure = trouble.unanswered.as_ref().and_then(Unanswered::failure);
        OwnIdentity {
            certificate: held.issued().map(|issued| issued.status(clock::now())),
            error: failure.map(|failure| failure.reason.clone()),
            remedy: failure.map(|failure| failure.remedy.clone()),
        }
    }

    fn envoy(&self) -> EnvoyStatus {
        let statuses = self.state.proxies.list();
        let types = statuses.iter().flat_map(|proxy| &proxy.types);
        let accepted =
            types.clone().filter_map(|(kind, status)| Some((*kind, status.accepted.as_ref()?.to_string()))).collect();
        let (refused, refusing) = {
            let exchange = self.state.outlets.status.borrow();
            (exchange.nacks.clone(), exchange.nack_count)
        };
        let (live, inspection) = (**self.state.live.load(), self.state.inspected.load().as_ref().clone());
        EnvoyStatus { connected: !statuses.is_empty(), live, accepted, refused, refusing, inspection }
    }
}

/// A port that is to be captured, and of which Envoy may not use the addresses of callers.
fn not_permitted(first: &SocketAddrV4, count: usize) -> Want {
    let more = if count == 1 { String::new() } else { format!(" (and {} more)", count - 1) };
    Want {
        what: "ingress",
        reason: format!("{first}{more} is not captured: its program is to see the addresses of callers"),
        remedy: "Set `netfilter.original_src` of virtual-ip-agent and `original_src` of bosh-envoy to true, or take `original_src` \
                 from the port; until then callers reach the program directly."
            .to_owned(),
    }
}

fn pilot_link(exchange: ExchangeStatus) -> PilotLink {
    let connected_since = exchange.pilot.is_some().then_some(exchange.since);
    let away = exchange.pilot.is_none();
    PilotLink {
        error: exchange.last_error.filter(|_| away),
        remedy: exchange.last_remedy.filter(|_| away),
        address: exchange.pilot,
        connected_since,
    }
}
