//! Tests how the kernel applies the rules and the route, each scenario in a network namespace of its own.
//!
//! A scenario runs in a process of its own, started by the program `unshare`, so nothing here touches the machine's
//! rules. It works for root and for an ordinary user. When a program is missing, the scenario fails and says so.

#![expect(clippy::unwrap_used, reason = "a scenario that cannot go on has failed")]
#![expect(
    clippy::print_stdout,
    reason = "what a scenario prints in its own process is shown by the one that started it"
)]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

#[path = "namespaces/containers.rs"]
mod containers;
#[path = "namespaces/dead_peers.rs"]
mod dead_peers;
#[path = "namespaces/drift.rs"]
mod drift;
#[path = "namespaces/ingress.rs"]
mod ingress;
#[path = "namespaces/neighbours.rs"]
mod neighbours;
#[path = "namespaces/ownership.rs"]
mod ownership;
#[path = "namespaces/redirect.rs"]
mod redirect;
#[path = "namespaces/route.rs"]
mod route;
#[path = "namespaces/strict.rs"]
mod strict;
#[path = "namespaces/table.rs"]
mod table;
#[path = "namespaces/world.rs"]
mod world;
