//! Compares this crate's server with unbound and NSD, one core each, and prints one JSON line per server.
//!
//! ```text
//! cargo run --release -p boshy-dns --example dns_bench [seconds per round]
//! ```
//!
//! Every server is a child process on CPU 0 with the same 1,000 names; the load comes from CPU 1. Rounds are
//! interleaved, so that a disturbance affects all servers alike, and the median round counts. `UNBOUND` and `NSD` name
//! the programs, by default those of the Debian packages. A program that is not installed is left out, and the ratio to
//! it is null.
//!
//! On a machine that does other work at the time, the share of the core that a server gets differs from round to round,
//! and with it `qps` and its ratios. The `cpu_ratio`s compare answers per second of CPU time and are disturbed much
//! less.
#![expect(clippy::print_stdout, reason = "the figures are what is asked for")]

mod load;
mod names;
mod servers;

use std::{collections::BTreeMap, error::Error, time::Duration};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde_json::json;

use load::Measured;
use servers::{Kind, Running};

const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(500);
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

/// One round of one server.
struct Round {
    measured: Measured,
    cpu: Duration,
}

impl Round {
    fn queries_per_second(&self) -> f64 {
        self.measured.answers as f64 / self.measured.elapsed.as_secs_f64()
    }

    fn cpu_us_per_query(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.measured.answers as f64
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some(servers::SERVE) {
        return servers::serve_here();
    }
    let seconds = argument.map_or(Ok(3.0), |text| text.parse())?;
    let medians = measure(&Kind::available(), Duration::from_secs_f64(seconds))?;
    let qps = |name| medians.get(name).map(Round::queries_per_second);
    for (name, round) in &medians {
        let ratio = |other| qps(other).map(|other| rounded(round.queries_per_second() / other, 3));
        let cpu_ratio = |other| {
            let other: Option<&Round> = medians.get(other);
            other.map(|other| rounded(other.cpu_us_per_query() / round.cpu_us_per_query(), 3))
        };
        let line = json!({
            "name": name,
            "qps": round.queries_per_second().round(),
            "cpu_us_per_query": rounded(round.cpu_us_per_query(), 2),
            "p50_us": round.measured.percentile(0.50),
            "p99_us": round.measured.percentile(0.99),
            "ratio_to_unbound": ratio("unbound"),
            "ratio_to_nsd": ratio("nsd"),
            "cpu_ratio_to_unbound": cpu_ratio("unbound"),
            "cpu_ratio_to_nsd": cpu_ratio("nsd"),
            "lost": round.measured.lost,
            "wrong": round.measured.wrong,
        });
        println!("{line}");
    }
    match medians.values().all(|round| round.measured.wrong == 0) {
        true => Ok(()),
        false => Err("a server gave wrong answers, so its figures mean nothing".into()),
    }
}

/// The median round of each server, by its name.
fn measure(kinds: &[Kind], length: Duration) -> Result<BTreeMap<&'static str, Round>, Box<dyn Error>> {
    let mut rounds: BTreeMap<_, Vec<Round>> = BTreeMap::new();
    for number in 0..ROUNDS {
        let mut order: Vec<&Kind> = kinds.iter().collect();
        order.rotate_left(number % kinds.len());
        for kind in order {
            pin(SERVER_CPU)?;
            let server = Running::start(kind)?;
            pin(LOAD_CPU)?;
            rounds.entry(kind.name()).or_default().push(round(&server, length)?);
        }
    }
    let median = |mut rounds: Vec<Round>| {
        rounds.sort_by(|a, b| a.queries_per_second().total_cmp(&b.queries_per_second()));
        rounds.swap_remove(rounds.len() / 2)
    };
    Ok(rounds.into_iter().map(|(name, rounds)| (name, median(rounds))).collect())
}

fn round(server: &Running, length: Duration) -> Result<Round, Box<dyn Error>> {
    load::run(server.address(), WARM_UP)?;
    let before = server.cpu()?;
    let measured = load::run(server.address(), length)?;
    Ok(Round { measured, cpu: server.cpu()? - before })
}

/// Pins this process, and those it starts from now on, to one CPU.
fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}
