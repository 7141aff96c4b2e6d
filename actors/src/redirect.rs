//! The kernel interface of the rule writer.

use std::{io, net::Ipv4Addr, sync::Arc};

use boshy_netfilter::{Error, Found, Guard, Ownership, Pairs, Redirect, RouteError, RouteWatch, Strict, VipRoute};

/// Number of calls of [`Kernel::keep_route`] after which the route is checked without a notification.
const QUIET_LOOKS: u32 = 40;

/// What changes in boshy's table. Its rules follow from this and from the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Pairs of virtual IP and port that are redirected to the proxy.
    pub(crate) pairs: Arc<Pairs>,
    /// Addresses of this VM and ports that are reached through the mesh alone.
    pub(crate) strict: Arc<Pairs>,
}

/// Keeps rules and route in place. All calls block for a short time.
pub(crate) trait Kernel {
    /// The content of boshy's existing table, which an earlier process may have written.
    fn present(&mut self) -> Result<Content, Error>;

    /// What is in place; `None` before anything was written, and after it was removed and could not be restored.
    fn written(&self) -> Option<Content>;

    /// Puts the rules in place with exactly this content, and returns what was found before.
    fn keep_rules(&mut self, content: &Content) -> Result<Found, Error>;

    /// Puts the route in place, with this address of the VM as the source of connections. Returns whether it had to
    /// change anything.
    fn keep_route(&mut self, source: Ipv4Addr) -> Result<bool, RouteError>;
}

/// The kernel by netlink.
pub(crate) struct Linux {
    redirect: Redirect,
    strict: Strict,
    guard: Option<Guard>,
    route: Option<WatchedRoute>,
}

struct WatchedRoute {
    source: Ipv4Addr,
    route: VipRoute,
    watch: RouteWatch,
    /// Number of calls until it is checked without a notification.
    quiet: u32,
}

impl Linux {
    /// Opens nothing yet.
    pub(crate) fn new(redirect: Redirect, strict: Strict) -> Self {
        Self { redirect, strict, guard: None, route: None }
    }

    fn guard(&mut self) -> Result<&mut Guard, Error> {
        match &mut self.guard {
            Some(guard) => Ok(guard),
            none => Ok(none.insert(Guard::open(Ownership::WherePossible)?)),
        }
    }
}

impl Kernel for Linux {
    fn present(&mut self) -> Result<Content, Error> {
        let present = self.guard()?.present()?;
        let strict = Arc::new(present.clone().into_pairs(Strict::SET));
        Ok(Content { pairs: Arc::new(present.into_pairs(Redirect::SET)), strict })
    }

    fn written(&self) -> Option<Content> {
        let sets = &self.guard.as_ref()?.written()?.sets;
        let strict = sets.get(Strict::SET).cloned().unwrap_or_default();
        Some(Content { pairs: Arc::clone(sets.get(Redirect::SET)?), strict })
    }

    fn keep_rules(&mut self, content: &Content) -> Result<Found, Error> {
        let ruleset = self.strict.added_to(self.redirect.ruleset(&content.pairs), &content.strict);
        self.guard()?.keep(&ruleset)
    }

    /// Reads all routes of the VM only after a notification of the kernel, or after many calls without one.
    fn keep_route(&mut self, source: Ipv4Addr) -> Result<bool, RouteError> {
        self.route = self.route.take().filter(|watched| watched.source == source);
        let watched = match &mut self.route {
            Some(watched) => watched,
            none => {
                let watch = RouteWatch::open().map_err(RouteError::Unwatched)?;
                let route = VipRoute::new(self.redirect.range(), source)?;
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
