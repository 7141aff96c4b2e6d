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
mod endpoints;
mod exchange;
mod outlets;
mod pairs;
mod pilot;
pub mod relay;
mod tunnels;

pub use self::{
    commit::Kept,
    endpoints::{EndpointEdit, NewEndpoint, with_edited_endpoints},
    exchange::Exchange,
    outlets::{ExchangeStatus, Outlets},
    pairs::outbound_pairs,
    pilot::{
        Attempt, Avoided, CertificateWish, ConnectError, ExchangeError, ExchangeSettings, PickerSettings,
        PilotConnection, PilotPicker, PilotStream, Reach, Refusal, Reported, Spread, StreamEvent, StreamListener,
        request_certificate, run_forever, send_report,
    },
    tunnels::{accepts_roots, accepts_tunnels},
};
pub use tonic::transport::Uri;
