//! Both ends of the delta and state-of-the-world protocols, as state machines: no I/O, no clock.
//!
//! [`server`] is the end that serves resources: the pilot to agents, and an agent to its Envoy. [`client`] is the end
//! with which an agent receives the pilot's.

pub mod client;
pub mod server;
