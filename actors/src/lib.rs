//! The actors of pilot and agent, and the two trees that supervise them.
//!
//! Actors are thin. The crates below decide what to do. What outlives an actor (channels, bound sockets, files) is
//! created by `pilot.rs` and `agent.rs` and passed to every life. No message is sent in order to read: readers hold
//! receivers.

mod address_finder;
pub mod agent;
mod agent_report;
mod agent_state;
mod agreed_leases_file;
mod capture_gate;
mod certificate_authority;
mod channel;
mod clock;
mod convergence;
mod director_poller;
mod dns_server;
mod drain;
mod endpoint_follower;
mod envoy_stop;
mod envoy_watcher;
mod folder_watch;
pub mod fuzzing;
mod held_identity;
mod http_server;
mod identity_desk;
mod identity_keeper;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod identity_tests;
pub mod keeper;
mod kept_facts;
mod kept_stages;
mod lease_agreement;
mod lease_file;
mod lookout;
mod modes;
mod name_gate;
mod netfilter_writer;
mod peer_watcher;
pub mod pilot;
mod pilot_exchange;
mod pilot_state;
mod pilots;
mod records_file;
mod records_source;
mod records_watch;
mod redirect;
mod reporter;
mod served_gate;
mod server_socket;
mod service_registry;
mod shared_leases;
mod start;
mod state_dir;
mod state_keeper;
mod succession;
mod trust;
mod vip_pool;
mod withdrawal;
mod xds_server;

pub use boshy_web::withdrawal::Withdrawn;
pub use start::StartError;
