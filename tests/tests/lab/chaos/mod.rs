//! Faults drawn from a seed, while every VM steadily asks every service, judged by `boshy_tests::chaos`.
//!
//! `BOSHY_CHAOS_OPERATIONS` names ops files that are applied first, in this order, such as `identities mtls-strict`.
//! `BOSHY_CHAOS_SEED` and `BOSHY_CHAOS_MINUTES` say which schedule runs, and for how long. `BOSHY_CHAOS_ONLY` takes
//! those faults of it whose text contains this, such as `is unplugged`. Timing differs between runs: the same seed brings
//! the same faults in the same order, and not the same requests between them.

mod callers;
mod operator;
mod run;
mod settled;
mod strike;
mod witness;

use std::{
    env,
    time::{Duration, Instant},
};

use self::run::Run;

/// Seed and rounds of each `make test`: kills, freezes, panics, lies, full disks, clocks that jump and an unplugged VM,
/// without slow changes.
const SEED: u64 = 1376;
const ROUNDS: usize = 3;

#[test]
fn no_request_is_lost_beyond_what_its_faults_explain_and_none_goes_astray() {
    let mut run = Run::start(SEED, "", "");
    run.rounds(|done| done == ROUNDS);
    run.end();
}

#[test]
#[ignore = "takes as long as it is told to: make chaos"]
fn for_as_long_as_asked() {
    let number = |name: &str, default: u64| env::var(name).map_or(default, |text| text.parse().unwrap());
    let minutes = Duration::from_secs(60 * number("BOSHY_CHAOS_MINUTES", 60));
    let text = |name: &str| env::var(name).unwrap_or_default();
    let seed = number("BOSHY_CHAOS_SEED", SEED);
    let mut run = Run::start(seed, &text("BOSHY_CHAOS_ONLY"), &text("BOSHY_CHAOS_OPERATIONS"));
    let begun = Instant::now();
    run.rounds(|_| begun.elapsed() > minutes);
    run.end();
}
