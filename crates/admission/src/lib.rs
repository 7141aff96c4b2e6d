//! Admission of a server's connections: limits on their number, for each address and in total, and on the time one may
//! be unused.
//!
//! ```text
//!   accept ──> Admission::admit(address) ──> Place ──> Guarded<socket> ──> server
//!                 │ one too many: the one that has been silent longest gives way
//! ```
//! At the limit, a newcomer is admitted at the cost of the connection that has been idle longest. Otherwise a client
//! that holds the last place without using it would keep all others out, and a server that does not answer is taken for
//! dead. When the newcomer's address is at its own limit, one of its connections is closed. Otherwise one of the
//! address with the most connections is closed: an address that opens many connections pays for them itself.
//!
//! The data path only records the time of each use.

mod choice;
mod guarded;
mod place;

pub use choice::Limits;
pub use guarded::{Guarded, Patience};
pub use place::{Admission, Busy, Full, Place};
