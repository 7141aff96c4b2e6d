//! The kernel of this VM, as the rule writer uses it.

use std::{io, net::Ipv4Addr, sync::Arc};

use boshy_netfilter::{Error, Found, Guard, Ownership, Pairs, RouteError, Ruleset, VipRoute, Watch};

/// Looks at the route without a notice: that many calls of [`Kernel::keep_route`] lie between two.
const QUIET_LOOKS: u32 = 40;

/// What keeps rules and route in place. All calls block, and are short.
pub(crate) trait Kernel {
    /// The pairs that an own table holds which is there, whoever wrote it.
    fn present(&mut self) -> Result<Pairs, Error>;

    /// What is in place; `None` before anything was written, and after something else took it away for good.
    fn written(&self) -> Option<Arc<Pairs>>;

    /// Brings it about that the rules are in place with exactly these pairs, and answers what was found before.
    fn keep_rules(&mut self, pairs: &Arc<Pairs>) -> Result<Found, Error>;

    /// Brings it about that the route is in place, with this address of the VM as the source of connections; whether anything had to be changed.
    fn keep_route(&mut self, source: Ipv4Addr) -> Result<bool, RouteError>;
}

/// The kernel by netlink.
pub(crate) struct Linux {
    ruleset: Ruleset,
    guard: Option<Guard>,
    route: Option<WatchedRoute>,
}

struct WatchedRoute {
    source: Ipv4Addr,
    route: VipRoute,
    watch: Watch,
    /// Calls until it is looked at although nothing was told.
    quiet: u32,
}

impl Linux {
    /// Nothing is opened yet.
    pub(crate) fn new(ruleset: Ruleset) -> Self {
        Self { ruleset, guard: None, route: None }
    }

    fn guard(&mut self) -> Result<&mut Guard, Error> {
        match &mut self.guard {
            Some(guard) => Ok(guard),
            none => Ok(none.insert(Guard::open(&self.ruleset, Ownership::WherePossible)?)),
        }
    }
}

impl Kernel for Linux {
    fn present(&mut self) -> Result<Pairs, Error> {
        self.guard()?.present()
    }

    fn written(&self) -> Option<Arc<Pairs>> {
        self.guard.as_ref()?.written().cloned()
    }

    fn keep_rules(&mut self, pairs: &Arc<Pairs>) -> Result<Found, Error> {
        self.guard()?.keep(pairs)
    }

    /// All routes of the VM are read only when the kernel told of a change, or has been silent for long.
    fn keep_route(&mut self, source: Ipv4Addr) -> Result<bool, RouteError> {
        self.route = self.route.take().filter(|watched| watched.source == source);
        let watched = match &mut self.route {
            Some(watched) => watched,
            none => {
                let watch = Watch::routes().map_err(RouteError::Unwatched)?;
                let route = VipRoute::new(self.ruleset.range(), source)?;
                none.insert(WatchedRoute { source, route, watch, quiet: 0 })
            }
        };
        let told = watched.watch.changed().unwrap_or_else(|error: io::Error| {
            tracing::debug!(%error, "notices about routes cannot be read");
            true
        });
        if !told && watched.quiet > 0 {
            watched.quiet -= 1;
            return Ok(false);
        }
        // Looked at again at once when this fails.
        watched.quiet = 0;
        let changed = watched.route.ensure()?;
        watched.quiet = QUIET_LOOKS;
        Ok(changed)
    }
}
