//! Chaos, as far as it needs no lab: which faults there are, a schedule of them drawn from a seed, and the judgement of
//! the requests that were made meanwhile.
//!
//! ```text
//!   seed ── Schedule::drawn ──> rounds of faults ── the lab lets them happen ──> Happening (what, from when, to when) ──┐
//!                                                   callers in all VMs ────────> Request (when, from, to, end)        ──┤
//!                                                                                              Oracle::judge  <─────────┘
//!                                                                                                 └──> violations
//! ```
//!
//! The oracle knows what each fault may cost ([`Fault::costs`]). Whatever fails beyond that is a violation, and so is any
//! answer of another service than the one that was asked, whatever happens at the time.

mod cost;
mod fault;
mod fleet;
mod oracle;
mod request;
mod scene;
mod schedule;

pub use self::{
    cost::{Cost, Happening},
    fault::{Fault, Lie, Process},
    fleet::{FLEET, Host, PILOT, TWIN, Target, Vm},
    oracle::{Oracle, Violation},
    request::{Answer, Failure, Kind, Request, now},
    scene::Scene,
    schedule::{AGENT_ACTORS, PILOT_ACTORS, PLAIN_PILOT_ACTORS, Planned, Round, Schedule},
};
