//! The redirect rules of a VM: TCP connections that the VM opens to a virtual IP and port that exist reach the local Envoy, and all
//! others to the range are refused.
//!
//! ```text
//!   Ruleset + Pairs --chains, lower--> netlink messages --Netlink--> kernel
//!                           |                                          |
//!                           └--> difference <-- Observed <-- lift <----┘
//! ```
//!
//! Everything left of the kernel is pure. [`Netlink`] is the only effect; [`Guard`] calls it and notices drift; [`VipRoute`] is
//! the route that makes virtual IPs reachable in the first place.
//!
//! [`DeadPeers`] ends what the rules led to Envoy, and Envoy to an instance that has vanished.
//!
//! What is written is one nftables table `inet boshy` and one route with a protocol number of its own. Nothing is flushed, and no
//! table, chain, rule, route or connection of others is touched.
//!
//! Everything works on the network namespace of the calling thread and needs CAP_NET_ADMIN there. Calls block, briefly, and
//! belong where an actor may block.

#![forbid(unsafe_code)]

mod dead_peers;
mod difference;
mod error;
mod guard;
mod kernel;
mod netlink;
mod route;
mod ruleset;
mod watch;

pub use dead_peers::{DeadPeers, DeadPeersError, Ended, dead_in};
pub use difference::{Deviation, Drift, Observed, ObservedChain, ObservedRule, difference};
pub use error::{Cause, Error, Operation};
pub use guard::{Found, Guard};
pub use kernel::{Netlink, Ownership};
pub use route::{RouteError, VipRoute};
pub use ruleset::{Base, Chain, Match, Pairs, Rule, Ruleset, RulesetError, Verdict};
pub use watch::Watch;
