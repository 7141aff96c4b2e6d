//! The kernel interface of the rule writer.

use std::{io, net::Ipv4Addr, sync::Arc};

use boshy_netfilter::{Error, Found, Guard, Ownership, Pairs, RouteError, Ruleset, VipRoute, Watch};

/// Number of calls of [`Kernel::keep_route`] after which the route is checked without a notification.
const QUIET_LOOKS: u32 = 40;

/// Keeps rules and route in place. All calls block for a short time.
pub(crate) trait Kernel {
    /// The pairs in boshy's existing table, which an earlier process may have written.
    fn present(&mut self) -> Result<Pairs, Error>;

    /// The pairs in place; `None` before any were written, and after they were removed and could not be restored.
    fn written(&self) -> Option<Arc<Pairs>>;

    /// Puts the rules in place with exactly these pairs, and returns what was found before.
    fn keep_rules(&mut self, pairs: &Arc<Pairs>) -> Result<Found, Error>;

    /// Puts the route in place, with this address of the VM as the source of connections. Returns whether it had to
    /// change anything.
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
    /// Number of calls until it is checked without a notification.
    quiet: u32,
}

impl Linux {
    /// Opens nothing yet.
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

    /// Reads all routes of the VM only after a notification of the kernel, or after many calls without one.
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
        // If this fails, the next call checks again.
        watched.quiet = 0;
        let changed = watched.route.ensure()?;
        watched.quiet = QUIET_LOOKS;
        Ok(changed)
    }
}
