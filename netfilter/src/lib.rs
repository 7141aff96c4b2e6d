//! The redirect rules of a VM. TCP connections that the VM opens to an existing pair of virtual IP and port are
//! redirected to the local Envoy. All other connections to the range are refused.
//!
//! ```text
//!   Redirect + Pairs --> Ruleset --lower--> netlink messages --Netlink--> kernel
//!                           |                                                |
//!                           └------> difference <-- Observed <-- lift <------┘
//! ```
//!
//! [`Ruleset`] is any list of chains with rules and sets. [`Redirect`] makes the one that boshy wants. [`Strict`] adds
//! the filter of ports that are reached through the mesh alone, and [`Ingress`] the capture of ports. Everything left of
//! the kernel is pure.
//! [`Netlink`] has all effects on rules. [`Guard`] calls it and detects drift. [`VipRoute`] is the route that makes
//! virtual IPs reachable in the first place.
//!
//! [`DeadPeers`] ends connections to vanished instances, both the redirected connection to Envoy and Envoy's connection
//! to the instance.
//!
//! boshy writes one nftables table, `inet boshy`, and one route with a protocol number of its own. It flushes nothing,
//! and changes no table, chain, rule, route or connection of another program.
//!
//! Everything applies to the network namespace of the calling thread and needs CAP_NET_ADMIN there. Calls block briefly
//! and belong on a thread where an actor may block.

#![forbid(unsafe_code)]

mod dead_peers;
mod difference;
mod error;
mod guard;
mod ingress;
mod kernel;
mod netlink;
mod redirect;
mod return_path;
mod route;
mod route_watch;
mod ruleset;
mod set;
mod strict;

pub use dead_peers::{DeadPeers, DeadPeersError, Ended, dead_in};
pub use difference::{Deviation, Drift, Observed, ObservedChain, ObservedRule, ObservedSet, difference};
pub use error::{Cause, Error, Operation};
pub use guard::{Found, Guard};
pub use ingress::Ingress;
pub use kernel::{Netlink, Ownership};
pub use redirect::{Redirect, RedirectError};
pub use return_path::ReturnPath;
pub use route::{RouteError, VipRoute};
pub use route_watch::RouteWatch;
pub use ruleset::{Base, Chain, Hook, Match, Policy, Rule, Ruleset, Verdict};
pub use set::{Element, Pairs, Ports, Set, Sets};
pub use strict::Strict;
