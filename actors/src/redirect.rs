//! The kernel interface of the rule writer.

use std::{io, net::Ipv4Addr, sync::Arc};

use boshy_mesh::ORIGINAL_SRC_MARK;
use boshy_netfilter::{
    Error, Found, Guard, Ingress, Ownership, Pairs, Ports, Redirect, ReturnPath, RouteError, RouteWatch, Ruleset, Set,
    Strict, VipRoute,
};

/// Number of calls of [`Kernel::keep_route`] and [`Kernel::keep_return_path`] after which the route is checked without a
/// notification.
const QUIET_LOOKS: u32 = 40;

/// What changes in boshy's table. Its rules follow from this and from the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Pairs of virtual IP and port that are redirected to the proxy.
    pub(crate) pairs: Arc<Pairs>,
    /// Ports of this VM that are closed to what arrives from outside: those that are reached through the mesh alone, and
    /// captured ones that are reached through Envoy alone.
    pub(crate) closed: Arc<Ports>,
    /// Addresses of this VM and ports whose connections from outside are led to Envoy.
    pub(crate) captured: Arc<Pairs>,
    /// Whether programs see the addresses of callers whose connections are captured.
    pub(crate) original_src: bool,
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

    /// Puts the way back to Envoy in place for what programs answer to callers whose addresses they see, or removes it.
    fn keep_return_path(&mut self, wanted: bool) -> Result<(), RouteError>;
}

/// What boshy's rules are made of, by the settings.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) redirect: Redirect,
    pub(crate) strict: Strict,
    pub(crate) ingress: Ingress,
}

/// The kernel by netlink.
pub(crate) struct Linux {
    rules: Rules,
    guard: Option<Guard>,
    route: Option<WatchedRoute>,
    back: Option<WatchedReturn>,
}

struct WatchedReturn {
    path: ReturnPath,
    /// Whether it was ensured; `false` when it was removed.
    wanted: bool,
    /// Number of calls until it is checked.
    quiet: u32,
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
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, guard: None, route: None, back: None }
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
        Ok(Content {
            pairs: present.pairs(Redirect::SET),
            closed: present.ports(Strict::SET),
            captured: present.pairs(Ingress::SET),
            original_src: present.chains.iter().any(|chain| chain.name == Ingress::RETURN),
        })
    }

    fn written(&self) -> Option<Content> {
        let Ruleset { chains, sets } = self.guard.as_ref()?.written()?;
        Some(Content {
            pairs: sets.get(Redirect::SET)?.pairs(),
            closed: sets.get(Strict::SET).map_or_else(Arc::default, Set::ports),
            captured: sets.get(Ingress::SET).map_or_else(Arc::default, Set::pairs),
            original_src: chains.iter().any(|chain| chain.name == Ingress::RETURN),
        })
    }

    fn keep_rules(&mut self, content: &Content) -> Result<Found, Error> {
        let Rules { redirect, strict, ingress } = &self.rules;
        let ruleset = strict.added_to(redirect.ruleset(&content.pairs), &content.closed);
        let ruleset = ingress.added_to(ruleset, &content.captured, content.original_src);
        self.guard()?.keep(&ruleset)
    }

    /// Reads all routes of the VM only after a notification of the kernel, or after many calls without one.
    fn keep_route(&mut self, source: Ipv4Addr) -> Result<bool, RouteError> {
        self.route = self.route.take().filter(|watched| watched.source == source);
        let watched = match &mut self.route {
            Some(watched) => watched,
            none => {
                let watch = RouteWatch::open().map_err(RouteError::Unwatched)?;
                let route = VipRoute::new(self.rules.redirect.range(), source)?;
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

    /// Reads rules and routes of the VM only when it is wanted otherwise than before, or after many calls.
    fn keep_return_path(&mut self, wanted: bool) -> Result<(), RouteError> {
        let back = match &mut self.back {
            Some(back) => back,
            // What an earlier process left is removed as well.
            none => none.insert(WatchedReturn { path: ReturnPath::new(ORIGINAL_SRC_MARK)?, wanted: !wanted, quiet: 0 }),
        };
        if back.wanted == wanted && (!wanted || back.quiet > 0) {
            back.quiet = back.quiet.saturating_sub(1);
            return Ok(());
        }
        if wanted {
            back.path.ensure()?;
        } else {
            back.path.remove()?;
        }
        (back.wanted, back.quiet) = (wanted, QUIET_LOOKS);
        Ok(())
    }
}
