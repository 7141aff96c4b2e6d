//! Connections of a server: how many there may be, of one address and in all, and how long one may go unused.
//!
//! ```text
//!   accept ──> Admission::admit(address) ──> Place ──> Guarded<socket> ──> server
//!                 │ one too many: the one that has been silent longest gives way
//! ```
//!
//! A newcomer is admitted, and somebody who does nothing gives way to it. Else whoever holds the last place without using it keeps
//! everybody out, and a server that cannot be asked is taken for dead. What gives way is of the newcomer's own address when that
//! has its share already, and of the address with the most otherwise: many connections cost who makes them.
//!
//! Nothing here is on the way of data but a note of the time.

mod choice;
mod guarded;
mod place;

pub use choice::Limits;
pub use guarded::{Guarded, Patience};
pub use place::{Admission, Busy, Full, Place};
