//! The redirect rules of a VM: TCP connections that the VM opens to a virtual IP reach the local Envoy.
//!
//! ```text
//!   Ruleset --table--> Table --render / lower--> nft text, iptables text, netlink messages --write--> kernel
//!                        |                                                                              |
//!                        └----> difference <---- Observed <---- parse / lift <---------- observe -------┘
//! ```
//!
//! Everything left of the kernel is pure. [`apply`](Backend) is the only effect; [`Guard`] calls it and notices drift; [`VipRoute`] is
//! the route that makes virtual IPs reachable in the first place.
//!
//! What is written is one nftables table `inet boshy` (or one chain `BOSHY_OUTPUT` and one jump to it, by iptables) and one route with a
//! protocol number of its own. Nothing is flushed, and no table, chain, rule or route of others is touched.
//!
//! Everything works on the network namespace of the calling thread and needs CAP_NET_ADMIN there. Calls block, briefly, and
//! belong where an actor may block.

#![forbid(unsafe_code)]

mod apply;
mod difference;
mod error;
mod guard;
mod netlink;
mod parse;
pub mod render;
mod route;
mod ruleset;
mod watch;

pub use apply::{Backend, BackendKind, Iptables, Netlink, Nft, Ownership, detect, remove_all};
pub use difference::{Deviation, Drift, Observed, ObservedChain, ObservedRule, difference};
pub use error::{Cause, Error, Operation, ProgramError};
pub use guard::Guard;
pub use route::{RouteError, VipRoute};
pub use ruleset::{
    ALWAYS_BYPASSED, Base, Chain, DEFAULT_CAPTURE_PORT, Layout, MAX_BYPASSED, Match, Rule, Ruleset, RulesetError,
    Table, Verdict,
};
pub use watch::Watch;
