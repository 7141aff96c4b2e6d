//! The mesh's own DNS zone: what it answers, and the server that carries the answers.
//!
//! ```text
//!   NameTable ──Zone::build──> Zone ──atomic pointer──┐
//!                                                     v
//!   UDP ──recvmmsg──> plain question? ──yes──> prebuilt octets ──sendmmsg──>
//!                          │no
//!   TCP ───────────────────┴──> hickory reads, Zone decides, hickory writes ──>
//! ```
//!
//! Nearly every question is plain and costs little more than the system calls, so these are batched and the answer is laid out
//! beforehand. What is not plain, and TCP, is rare: there hickory's reader and writer are used, which know the whole of DNS.
//! Both ways ask the same [`Zone`], and a test holds one against the other. What is not known yet is waited for, for a bounded time and in
//! bounded room: who forwards a SERVFAIL may make an NXDOMAIN of it.
//!
//! The zone is authoritative for itself only. Not promised: recursion, zone transfer, update, DNSSEC, cookies, and an answer to
//! a question that a kernel queue had no room for.

mod answer;
mod batch;
pub mod fallback;
pub mod handler;
mod inherit;
mod rcode;
mod respond;
mod server;
mod signed;
mod stats;
mod tcp;
#[cfg(test)]
mod testing;
mod udp;
mod waiting;
mod wire;
mod zone;
mod zones;

pub use answer::{Plain, plain};
pub use boshy_mesh::ANSWER_TTL;
pub use rcode::Rcode;
pub use respond::{Datagram, Response, respond};
pub use server::{BindError, ServeError, Sockets, serve};
pub use stats::{Stats, StatsSnapshot};
pub use wire::PAYLOAD;
pub use zone::{NEGATIVE_TTL, Zone};
pub use zones::{PATIENCE, Zones};
