//! The actors of pilot and agent, and the two trees that supervise them.
//!
//! Actors are thin. The crates below decide what to do. What outlives an actor (channels, bound sockets, files) is
//! created by `pilot.rs` and `agent.rs` and passed to every life. No message is sent in order to read: readers hold
//! receivers.

mod address_finder;
pub mod agent;
mod agent_report;
mod agent_state;
mod certificate_authority;
mod channel;
mod clock;
mod convergence;
mod director_poller;
mod dns_server;
mod drain;
mod envoy_watcher;
pub mod fuzzing;
mod held_identity;
mod http_server;
mod identity_desk;
mod identity_keeper;
pub mod keeper;
mod kept_facts;
mod lease_file;
mod lookout;
mod name_gate;
mod netfilter_writer;
mod peer_watcher;
pub mod pilot;
mod pilot_exchange;
mod pilot_state;
mod pilots;
mod records_file;
mod redirect;
mod server_socket;
mod service_registry;
mod start;
mod state_dir;
mod state_keeper;
mod tunnelled_services;
mod vip_pool;
mod xds_server;

pub use start::StartError;
