//! Drives a director, pilots and agents in one process, so that a test reads like a scenario.
//!
//! ```text
//! let director = Director::with([Manifest::of("shop")]);
//! let pilot = director.pilot().starts();
//! let agent = AgentPlan::of([&pilot]).starts();
//! agent.answers(SHOP, pilot.vip(SHOP)).is_ready();
//! ```
//!
//! Everything listens on port 0 of loopback and keeps its files in a temporary directory. A method either changes
//! something or waits for a condition: a wait ends with the condition, or fails the test at a deadline and shows the
//! last value. Nothing here waits for a fixed time.

#![allow(clippy::unwrap_used, reason = "a driver of tests fails the test")]
#![expect(clippy::disallowed_methods, reason = "a driver of tests, which fail by what they wait for")]

mod agent;
mod apart;
mod certificates;
pub mod chaos;
mod detour;
mod director;
pub mod dns;
mod http;
mod log;
mod manifest;
pub mod peer;
mod pilot;
mod process;
pub mod volume;
mod wait;

pub use self::{
    agent::{AGENT_IP, Agent, AgentPlan},
    apart::{with_own_mounts, with_own_network},
    certificates::{Authority, Papers},
    detour::Detour,
    director::Director,
    http::{Http, Reply},
    log::log_everything,
    manifest::Manifest,
    pilot::{Pilot, PilotPlan},
    process::{Operated, Process},
    wait::{meanwhile, until, until_some},
};
