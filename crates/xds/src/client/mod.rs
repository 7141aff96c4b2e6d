//! The delta ADS client with which each VM's agent connects to its pilot.
//!
//! ```text
//!   pilot --DeltaDiscoveryResponse--> Response --> DeltaClient --Update--> relay
//!   pilot <--DeltaDiscoveryRequest--- Request <---------------------------- relay
//! ```
//!
//! [`DeltaClient`] and [`PilotPicker`] are values without I/O or clock. [`PilotStream`] moves messages between one gRPC
//! stream and an [`Exchange`], which connects the relay with its environment, and makes no decisions. Held resources
//! outlive every stream: the end of a stream, an error and a reconnect remove nothing. A new stream reports the held
//! resources, so that an unchanged VM is sent nothing.
//!
//! Not promised: an order between types other than the pilot's; TTLs of resources (a resource stays until it is removed
//! by name).

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
