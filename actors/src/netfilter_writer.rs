//! Keeps the redirect rules and the route of the virtual IPs in place.
//!
//! What is wanted is compared with what is there four times a second, which costs some microseconds by netlink. Nothing is removed
//! when this actor ends: an agent that crashes must not take working connections with it. The tree builder removes rules when
//! the agent is stopped in order.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context};
use arc_swap::ArcSwap;
use boshy_mesh::VipRange;
use boshy_netfilter::{BackendKind, Error, Guard, RouteError, Ruleset, VipRoute, detect};
use boshy_web::status::RulesStatus;
use err_report::Report;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::backoff::Pause;

const PERIOD: Duration = Duration::from_millis(250);
/// A VM where rules cannot be written is asked less and less often.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the writer is made of; it outlives the actor.
#[derive(Clone)]
pub(crate) struct Redirecting {
    /// False when somebody else redirects; nothing is then written.
    pub(crate) redirects: bool,
    /// The means to write with; `None` for the first that works.
    pub(crate) backend: Option<BackendKind>,
    /// What is to be redirected, and where.
    pub(crate) ruleset: Ruleset,
    /// Range of the virtual IPs.
    pub(crate) range: VipRange,
    /// The VM's own address, the source of connections to virtual IPs. Without one nothing is written.
    pub(crate) source: watch::Receiver<Option<Ipv4Addr>>,
    /// What operators see.
    pub(crate) status: Arc<ArcSwap<RulesStatus>>,
}

/// See the module.
pub(crate) struct NetfilterWriter {
    redirecting: Redirecting,
    status: RulesStatus,
    guard: Option<Guard>,
    route: Option<(Ipv4Addr, VipRoute)>,
    pause: Pause,
    not_before: Instant,
}

impl NetfilterWriter {
    /// A writer for one life.
    pub(crate) fn new(redirecting: Redirecting) -> Self {
        let status = RulesStatus { drift_repairs: redirecting.status.load().drift_repairs, ..RulesStatus::default() };
        let pause = Pause::new(PERIOD, LONGEST_PAUSE);
        Self { redirecting, status, guard: None, route: None, pause, not_before: Instant::now() }
    }

    fn tick(&mut self) {
        if !self.redirecting.redirects || Instant::now() < self.not_before {
            return;
        }
        let Some(source) = *self.redirecting.source.borrow() else { return };
        let rules = self.keep_rules().map_err(|error| (Report::new(&error).to_string(), error.remedy()));
        self.status.in_place = rules.is_ok();
        (self.status.error, self.status.remedy) = rules.err().unzip();
        let route = self.keep_route(source).map_err(|error| (Report::new(&error).to_string(), error.remedy()));
        self.status.route.in_place = route.is_ok();
        (self.status.route.error, self.status.route.remedy) = route.err().unzip();
        let good = self.status.in_place && self.status.route.in_place;
        let pause = if good { self.pause.succeeded() } else { self.pause.failed() };
        self.not_before = Instant::now() + if good { Duration::ZERO } else { pause };
        if **self.redirecting.status.load() != self.status {
            self.redirecting.status.store(Arc::new(self.status.clone()));
        }
    }

    fn keep_rules(&mut self) -> Result<(), Error> {
        if let Some(guard) = &mut self.guard {
            let Some(drift) = guard.check()? else { return Ok(()) };
            guard.apply()?;
            self.status.drift_repairs += 1;
            warn!(%drift, "redirect rules were changed by something else and are back");
            return Ok(());
        }
        let backend = detect(self.redirecting.backend)?;
        let mut guard = Guard::new(backend, self.redirecting.ruleset.clone());
        guard.apply()?;
        info!(backend = %guard.backend(), range = %self.redirecting.range, "redirect rules are in place");
        self.status.backend = Some(guard.backend().to_string());
        self.guard = Some(guard);
        Ok(())
    }

    fn keep_route(&mut self, source: Ipv4Addr) -> Result<(), RouteError> {
        self.route = self.route.take().filter(|(of, _)| *of == source);
        let route = match &mut self.route {
            Some((_, route)) => route,
            none => &mut none.insert((source, VipRoute::new(self.redirecting.range.net(), source)?)).1,
        };
        if route.ensure()? {
            info!(range = %self.redirecting.range, %source, "route of the virtual IPs is in place");
        }
        Ok(())
    }
}

impl Actor for NetfilterWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.tick();
        ctx.run_interval(PERIOD, |writer, _| writer.tick());
    }
}
