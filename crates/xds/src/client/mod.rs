//! The delta ADS client that every VM's agent is towards its pilot.
//!
//! ```text
//!   pilot --DeltaDiscoveryResponse--> Response --> DeltaClient --Update--> relay
//!   pilot <--DeltaDiscoveryRequest--- Request <---------------------------- relay
//! ```
//!
//! [`DeltaClient`] and [`PilotPicker`] are values without I/O or clock; [`PilotStream`] moves messages between one gRPC stream and an
//! [`Exchange`], which is the relay with its surroundings, and makes no choice of its own. What is held outlives every stream: a stream that ends, an error and a
//! reconnect remove nothing, and a new stream says what is held, so that an unchanged VM is sent nothing.
//!
//! Not promised: an order between types beyond the one the pilot sends in; TTLs of resources (a resource stays until it
//! is removed by name).

mod commit;
mod connect;
mod delta;
mod error;
mod exchange;
mod outlets;
mod picker;
#[cfg(test)]
pub(crate) mod samples;
mod stream;
mod wire;

pub use commit::Kept;
pub use connect::ConnectError;
pub use delta::{DeltaClient, Update};
pub use error::ExchangeError;
pub use exchange::Exchange;
pub use outlets::{ExchangeStatus, Outlets};
pub use picker::{Attempt, Backoff, PilotPicker};
pub use stream::{ExchangeSettings, PilotStream, StreamEvent, StreamListener};
pub use tonic::transport::Uri;
pub use wire::{Malformed, Request, Response, UndecodableResponse};
