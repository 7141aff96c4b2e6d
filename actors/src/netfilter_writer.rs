//! Keeps the redirect rules, their pairs and the route of the virtual IPs in place.
//!
//! It is told which pairs the proxy serves, which ports of this VM are strict or captured, what Envoy has accepted and
//! which names are answered, and writes the difference at once. In addition it checks four times a second whether
//! another process changed the rules, which costs one query to the kernel while nothing has changed. It has its own
//! thread, because the kernel calls block.
//!
//! Nothing is removed when this actor ends: an agent that crashes must not break working connections. A fresh life, of
//! this actor or of the whole agent, keeps the pairs that it finds until it knows which are served. The tree builder
//! removes everything when the agent is stopped orderly.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use arc_swap::ArcSwap;
use boshy_backoff::{Backoff, Retries};
use boshy_mesh::{NEVER_CAPTURED, NameTable, VipRange};
use boshy_netfilter::{Error, Found, Pairs, Ports, RouteError, Strict};
use boshy_web::status::RulesStatus;
use boshy_xds::{AckStates, Captured, ResourceSet, agent::outbound_pairs, captured_ports, strict_ports};
use err_report::Report;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    capture_gate::{Envoy, Place, captures},
    channel::each,
    envoy_stop::EnvoyStop,
    name_gate::{Redirected, wanted},
    redirect::{Content, Kernel},
};

const PERIOD: Duration = Duration::from_millis(250);
/// Pauses between attempts on a VM where rules cannot be written.
const BACKOFF: Backoff = Backoff { first: PERIOD, longest: Duration::from_secs(10), jitter: 0.25 };

/// Time that Envoy has to connect to a fresh agent. Until then, what an earlier agent captured stays so.
const RECONNECTED: Duration = Duration::from_secs(5);

/// The proxy is served this; `None` while that is unknown.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ApplyRuleset(pub(crate) Option<Served>);

/// What the served set says about the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Pairs of virtual IP and port.
    pub(crate) pairs: Arc<Pairs>,
    /// Ports of this VM that are reached through the mesh alone.
    pub(crate) strict: Ports,
    /// Ports of this VM whose connections Envoy expects.
    pub(crate) captured: Vec<Captured>,
}

/// Envoy has answered, connected or disconnected, or is about to stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EnvoyAnswered;

/// DNS answers these names from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct NamesAnswered(pub(crate) Arc<NameTable>);

/// Check whether another process changed the rules or the route.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Look;

/// Configuration and channels of the writer; they outlive the actor.
#[derive(Clone)]
pub(crate) struct NetfilterWriterParts {
    /// Opens the kernel interface; `None` when another program redirects, and nothing is written.
    pub(crate) kernel: Option<Arc<dyn Fn() -> Box<dyn Kernel> + Send + Sync>>,
    /// Range of the virtual IPs.
    pub(crate) range: VipRange,
    /// The set served to the proxy.
    pub(crate) served: watch::Receiver<Arc<ResourceSet>>,
    /// The names that DNS answers.
    pub(crate) answered: watch::Receiver<Arc<NameTable>>,
    /// What Envoy has accepted.
    pub(crate) ack_states: AckStates,
    /// Whether Envoy is about to stop.
    pub(crate) envoy_stop: EnvoyStop,
    /// Whether Envoy may use the addresses of callers.
    pub(crate) original_src: bool,
    /// The VM's own address, the source of connections to virtual IPs. Without it, nothing is written.
    pub(crate) source: watch::Receiver<Option<Ipv4Addr>>,
    /// The redirected addresses. This actor is the only writer.
    pub(crate) redirected: watch::Sender<Redirected>,
    /// The captured ports. This actor is the only writer.
    pub(crate) captured: watch::Sender<Arc<Pairs>>,
    /// Status for operators.
    pub(crate) status: Arc<ArcSwap<RulesStatus>>,
}

/// See the module's documentation.
pub(crate) struct NetfilterWriter {
    parts: NetfilterWriterParts,
    kernel: Option<Box<dyn Kernel>>,
    served: Option<Served>,
    begun: Instant,
    answered: Arc<NameTable>,
    /// The pairs last published through [`NetfilterWriterParts::redirected`].
    told: Option<Arc<Pairs>>,
    status: RulesStatus,
    retries: Retries,
    not_before: Instant,
}

impl NetfilterWriter {
    /// A writer for one life.
    pub(crate) fn new(parts: NetfilterWriterParts) -> Self {
        let status = RulesStatus { drift_repairs: parts.status.load().drift_repairs, ..RulesStatus::default() };
        let kernel = parts.kernel.as_ref().map(|open| open());
        Self {
            parts,
            kernel,
            served: None,
            begun: Instant::now(),
            answered: Arc::default(),
            told: None,
            status,
            retries: Retries::new(BACKOFF),
            not_before: Instant::now(),
        }
    }

    fn keep(&mut self) {
        let Some(source) = *self.parts.source.borrow() else { return };
        let Some(mut kernel) = self.kernel.take() else { return };
        let (rules, back) = self.keep_rules(kernel.as_mut());
        let rules = rules.map_err(|error| (Report::new(&error).to_string(), error.remedy()));
        self.status.in_place = rules.is_ok();
        (self.status.error, self.status.remedy) = rules.err().unzip();
        let route = keep_route(kernel.as_mut(), source).and(back);
        let route = route.map_err(|error| (Report::new(&error).to_string(), error.remedy()));
        self.status.route.in_place = route.is_ok();
        (self.status.route.error, self.status.route.remedy) = route.err().unzip();
        let good = self.status.in_place && self.status.route.in_place;
        if good {
            self.retries.succeeded();
            self.not_before = Instant::now();
        } else {
            self.not_before = Instant::now() + self.retries.failed();
        }
        self.tell(kernel.written());
        self.kernel = Some(kernel);
    }

    /// The way back to Envoy is there for as long as a rule leads to it.
    fn keep_rules(&mut self, kernel: &mut dyn Kernel) -> (Result<(), Error>, Result<(), RouteError>) {
        let content = match kernel.written().map_or_else(|| kernel.present(), Ok) {
            Ok(in_place) => self.content(in_place),
            Err(error) => return (Err(error), Ok(())),
        };
        if !content.original_src {
            return (self.write(kernel, &content), kernel.keep_return_path(false));
        }
        let back = kernel.keep_return_path(true);
        // Without the way back, no connection with a caller's address would succeed.
        let captured = if back.is_ok() { content.captured } else { Arc::default() };
        (self.write(kernel, &Content { captured, ..content }), back)
    }

    /// What is to be in the kernel, by what is there.
    fn content(&self, in_place: Content) -> Content {
        let pairs = wanted(self.served.as_ref().map(|served| &served.pairs), &in_place.pairs, &self.answered);
        let Some(served) = &self.served else { return Content { pairs, ..in_place } };
        let places: Vec<_> = served.captured.iter().filter_map(|captured| self.place(captured)).collect();
        let captures = captures(&places, &in_place.captured, self.envoy());
        Content {
            pairs,
            closed: Arc::new(served.strict.union(&captures.closed).copied().collect()),
            captured: captures.captured,
            original_src: captures.original_src,
        }
    }

    /// A port that is to be captured; `None` where Envoy may not do what the port wants.
    fn place(&self, captured: &Captured) -> Option<Place> {
        let Captured { at, ingress, .. } = *captured;
        let accepted = captured.is_accepted(&self.parts.ack_states);
        (self.parts.original_src || !ingress.original_src).then_some(Place { at, ingress, accepted })
    }

    fn envoy(&self) -> Envoy {
        let answers = &self.parts.ack_states;
        if answers.connected() > 0 {
            let told = *self.parts.envoy_stop.told().borrow();
            if told.is_about_the_latest_of(answers.opened()) { Envoy::Stopping } else { Envoy::Connected }
        } else if answers.opened_and_ended() > 0 || self.begun.elapsed() > RECONNECTED {
            Envoy::Gone
        } else {
            Envoy::NotYet
        }
    }

    fn write(&mut self, kernel: &mut dyn Kernel, content: &Content) -> Result<(), Error> {
        match kernel.keep_rules(content)? {
            Found::Untouched => {}
            Found::Beginning => {
                let Content { pairs, closed, captured, .. } = content;
                let (pairs, closed, captured) = (pairs.len(), closed.len(), captured.len());
                info!(pairs, closed, captured, "redirect rules are in place");
            }
            Found::Drifted(drift) => {
                self.status.drift_repairs += 1;
                warn!(%drift, "redirect rules were changed by something else and are back");
            }
        }
        Ok(())
    }

    /// Ports that are not captured because Envoy may not use the addresses of callers.
    fn not_permitted(&self) -> Vec<SocketAddrV4> {
        let captured = self.served.iter().flat_map(|served| &served.captured);
        captured.filter(|captured| self.place(captured).is_none()).map(|captured| captured.at).collect()
    }

    fn tell(&mut self, written: Option<Content>) {
        self.status.strict = written.as_ref().map_or(0, |written| written.closed.len());
        let captured = written.as_ref().map_or_else(Arc::default, |written| Arc::clone(&written.captured));
        self.status.captured = captured.len();
        self.status.not_permitted = self.not_permitted();
        self.parts.captured.send_if_modified(|told| {
            let changed = *told != captured;
            *told = captured;
            changed
        });
        let written = written.map(|written| written.pairs);
        self.status.pairs = written.as_ref().map_or(0, |pairs| pairs.len());
        if **self.parts.status.load() != self.status {
            self.parts.status.store(Arc::new(self.status.clone()));
        }
        let same = match (&written, &self.told) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            _ => false,
        };
        if same {
            return;
        }
        let redirected = written.as_deref().map_or(Redirected::Unknown, Redirected::by);
        self.told = written;
        self.parts.redirected.send_if_modified(|told| {
            let changed = *told != redirected;
            *told = redirected;
            changed
        });
    }
}

/// What the served set wants to be in the table; `None` while it is unknown. Listeners come after the routes that say
/// which ports are strict, so both are known with the listeners.
fn served(set: &ResourceSet, range: VipRange) -> Option<Served> {
    let pairs = Arc::new(outbound_pairs(set, range)?);
    let strict = Strict::closable(strict_ports(set).into_iter().map(|at| at.port()));
    // The platform's ports are refused in a manifest already. A mistake would cut the VM off from its director.
    let captured = captured_ports(set).into_iter().filter(|captured| !NEVER_CAPTURED.contains(&captured.at.port()));
    Some(Served { pairs, strict, captured: captured.collect() })
}

fn keep_route(kernel: &mut dyn Kernel, source: Ipv4Addr) -> Result<(), RouteError> {
    if kernel.keep_route(source)? {
        info!(%source, "route of the virtual IPs is in place");
    }
    Ok(())
}

impl Handler<ApplyRuleset> for NetfilterWriter {
    type Result = ();

    fn handle(&mut self, ApplyRuleset(served): ApplyRuleset, _: &mut Context<Self>) {
        self.served = served;
        self.keep();
    }
}

impl Handler<EnvoyAnswered> for NetfilterWriter {
    type Result = ();

    /// Envoy answers often, and only what is captured depends on it.
    fn handle(&mut self, _: EnvoyAnswered, _: &mut Context<Self>) {
        let order = self.parts.envoy_stop.told().borrow().order;
        let captures = self.served.as_ref().is_some_and(|served| !served.captured.is_empty());
        if captures {
            self.keep();
        }
        if !captures || self.status.in_place {
            self.parts.envoy_stop.heed(order);
        }
    }
}

impl Handler<NamesAnswered> for NetfilterWriter {
    type Result = ();

    fn handle(&mut self, NamesAnswered(names): NamesAnswered, _: &mut Context<Self>) {
        self.answered = names;
        self.keep();
    }
}

impl Handler<Look> for NetfilterWriter {
    type Result = ();

    fn handle(&mut self, _: Look, _: &mut Context<Self>) {
        if Instant::now() >= self.not_before {
            self.keep();
        }
    }
}

impl Actor for NetfilterWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let NetfilterWriterParts { served: sets, answered, redirected, range, ack_states, envoy_stop, .. } =
            self.parts.clone();
        if self.kernel.is_none() {
            redirected.send_replace(Redirected::Elsewhere);
            return;
        }
        // The answered names come first, so that a pair whose name is answered is not removed because of the served
        // set.
        self.answered = Arc::clone(&answered.borrow());
        ctx.add_message_stream(each(sets, move |set| ApplyRuleset(served(set, range))));
        ctx.add_message_stream(each(ack_states.changes(), |_| EnvoyAnswered));
        ctx.add_message_stream(each(envoy_stop.told(), |_| EnvoyAnswered));
        ctx.add_message_stream(each(answered, |names| NamesAnswered(Arc::clone(names))));
        ctx.run_interval(PERIOD, |_, ctx| ctx.notify(Look));
    }
}

#[cfg(test)]
#[path = "netfilter_writer_tests.rs"]
mod tests;
