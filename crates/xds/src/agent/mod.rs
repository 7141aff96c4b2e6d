//! The agent's side: what a VM receives from its pilot, gives to its Envoy, and lets DNS answer.
//!
//! ```text
//!   pilot <── PilotStream ──> Exchange ──> Outlets: served, names, stored, status
//!                                │
//!                              Relay (decides) <── ACKs and NACKs of the local Envoy
//! ```
//!
//! [`Relay`](relay::Relay) and [`PilotPicker`] are values without I/O or clock. [`PilotStream`] moves messages between
//! one gRPC stream and an [`Exchange`], which connects the relay with its environment, and makes no decisions.

mod commit;
mod exchange;
mod outlets;
mod pairs;
mod pilot;
pub mod relay;

pub use self::{
    commit::Kept,
    exchange::Exchange,
    outlets::{ExchangeStatus, Outlets},
    pairs::outbound_pairs,
    pilot::{
        Attempt, CertificateWish, ConnectError, ExchangeError, ExchangeSettings, PickerSettings, PilotPicker,
        PilotStream, Refusal, StreamEvent, StreamListener, request_certificate,
    },
};
pub use tonic::transport::Uri;
