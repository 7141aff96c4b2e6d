//! Keeps the redirect rules, their pairs and the route of the virtual IPs in place.
//!
//! It is told which pairs the proxy serves, which ports of this VM are strict and which names are answered, and writes
//! the difference at once. In addition
//! it checks four times a second whether another process changed the rules, which costs one query to the kernel while
//! nothing has changed. It has its own thread, because the kernel calls block.
//!
//! Nothing is removed when this actor ends: an agent that crashes must not break working connections. A fresh life, of
//! this actor or of the whole agent, keeps the pairs that it finds until it knows which are served. The tree builder
//! removes everything when the agent is stopped orderly.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use arc_swap::ArcSwap;
use boshy_backoff::{Backoff, Retries};
use boshy_mesh::{NameTable, VipRange};
use boshy_netfilter::{Error, Found, Pairs, RouteError, Strict};
use boshy_web::status::RulesStatus;
use boshy_xds::{ResourceSet, agent::outbound_pairs, strict_ports};
use err_report::Report;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    channel::each,
    name_gate::{Redirected, wanted},
    redirect::{Content, Kernel},
};

const PERIOD: Duration = Duration::from_millis(250);
/// Pauses between attempts on a VM where rules cannot be written.
const BACKOFF: Backoff = Backoff { first: PERIOD, longest: Duration::from_secs(10), jitter: 0.25 };

/// The proxy serves these pairs, and these ports are strict; `None` while that is unknown.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ApplyRuleset(pub(crate) Option<Content>);

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
    /// The VM's own address, the source of connections to virtual IPs. Without it, nothing is written.
    pub(crate) source: watch::Receiver<Option<Ipv4Addr>>,
    /// The redirected addresses. This actor is the only writer.
    pub(crate) redirected: watch::Sender<Redirected>,
    /// Status for operators.
    pub(crate) status: Arc<ArcSwap<RulesStatus>>,
}

/// See the module's documentation.
pub(crate) struct NetfilterWriter {
    parts: NetfilterWriterParts,
    kernel: Option<Box<dyn Kernel>>,
    served: Option<Content>,
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
        let rules = self.keep_rules(kernel.as_mut());
        let rules = rules.map_err(|error| (Report::new(&error).to_string(), error.remedy()));
        self.status.in_place = rules.is_ok();
        (self.status.error, self.status.remedy) = rules.err().unzip();
        let route = keep_route(kernel.as_mut(), source);
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

    fn keep_rules(&mut self, kernel: &mut dyn Kernel) -> Result<(), Error> {
        let in_place = match kernel.written() {
            Some(written) => written,
            None => kernel.present()?,
        };
        let served = self.served.as_ref();
        let pairs = wanted(served.map(|served| &served.pairs), &in_place.pairs, &self.answered);
        let strict = served.map_or(in_place.strict, |served| Arc::clone(&served.strict));
        let content = Content { pairs, strict };
        match kernel.keep_rules(&content)? {
            Found::Untouched => {}
            Found::Beginning => {
                info!(pairs = content.pairs.len(), strict = content.strict.len(), "redirect rules are in place");
            }
            Found::Drifted(drift) => {
                self.status.drift_repairs += 1;
                warn!(%drift, "redirect rules were changed by something else and are back");
            }
        }
        Ok(())
    }

    fn tell(&mut self, written: Option<Content>) {
        self.status.strict = written.as_ref().map_or(0, |written| written.strict.len());
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
fn content(served: &ResourceSet, range: VipRange) -> Option<Content> {
    let pairs = Arc::new(outbound_pairs(served, range)?);
    let own = strict_ports(served).into_iter().filter_map(|at| match at {
        SocketAddr::V4(at) => Some(at),
        // Virtual IPs and what leads to them are of IPv4 alone.
        SocketAddr::V6(_) => None,
    });
    Some(Content { pairs, strict: Arc::new(Strict::closable(own)) })
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
        let NetfilterWriterParts { served, answered, redirected, range, .. } = self.parts.clone();
        if self.kernel.is_none() {
            redirected.send_replace(Redirected::Elsewhere);
            return;
        }
        // The answered names come first, so that a pair whose name is answered is not removed because of the served
        // set.
        self.answered = Arc::clone(&answered.borrow());
        ctx.add_message_stream(each(served, move |served| ApplyRuleset(content(served, range))));
        ctx.add_message_stream(each(answered, |names| NamesAnswered(Arc::clone(names))));
        ctx.run_interval(PERIOD, |_, ctx| ctx.notify(Look));
    }
}

#[cfg(test)]
#[path = "netfilter_writer_tests.rs"]
mod tests;
