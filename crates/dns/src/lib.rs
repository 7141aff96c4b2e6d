//! The mesh's own DNS zone, and the server that answers from it.

mod batch;
mod current_zone;
pub mod fallback;
pub mod handler;
mod inherit;
mod plain;
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

pub use boshy_mesh::ANSWER_TTL;
pub use current_zone::{CurrentZone, PATIENCE};
pub use plain::{PlainOutcome, answer_plain};
pub use rcode::Rcode;
pub use respond::{Datagram, Response, respond};
pub use server::{BindError, ServeError, Sockets, serve};
pub use stats::{Stats, StatsSnapshot};
pub use wire::PAYLOAD;
pub use zone::{NEGATIVE_TTL, Zone};
