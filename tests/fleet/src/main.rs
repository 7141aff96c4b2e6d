//! Measures what many agents cost pilots: `make bench-scale`, and `boshy-fleet --help`.
//!
//! ```text
//!   Site: a director ──> boshy pilots, processes ──> Fleet: agents in one thread
//!         └──────── Course: changes, restarts, waits, figures ────────┘
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `course`, `several` | what is done to one pilot, and to several, and measured, in order |
//! | `vm` | the agent of one VM, what is done to it and measured |
//! | `site`, `pilot`, `process` | the director with its deployments; a pilot; its process |
//! | `fleet`, `agent`, `socket` | all agents; one of them; its socket |
//! | `wire`, `gzip`, `holdings`, `awaited` | messages; compressed ones; what agents hold; what they wait for (pure) |
//! | `figures` | medians, ratios, the table (pure) |
//! | `namespace` | the network in which all of it happens |

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output")]

mod agent;
mod args;
mod awaited;
mod course;
mod figures;
mod fleet;
mod gzip;
mod holdings;
mod namespace;
mod pilot;
mod process;
mod several;
mod site;
mod socket;
mod vm;
mod wire;

use std::{path::Path, process::ExitCode};

use clap::Parser;
use tokio::{runtime::Builder, task::LocalSet};

use self::{args::Args, figures::Figures};

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(ended) = namespace::enter()? {
        return Ok(ended);
    }
    let programs: Vec<(&str, &Path)> = [("boshy", Some(&*args.boshy)), ("against", args.against.as_deref())]
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)))
        .collect();
    let mut measured = vec![Vec::new(); programs.len()];
    for round in 1..=args.rounds {
        for ((name, path), all) in programs.iter().zip(&mut measured) {
            all.extend(measure(&args, path, &|what| eprintln!("{name}, round {round}: {what}"))?);
        }
    }
    let measured: Vec<Vec<Figures>> = measured.iter().map(|all| by_work(all)).collect();
    if args.json {
        for ((name, _), all) in programs.iter().zip(&measured) {
            all.iter().for_each(|figures| println!("{}", figures.json(name)));
        }
    } else {
        println!(
            "{} proxies, {} services, {} {}, {}{}",
            args.proxies,
            args.services,
            args.pilots,
            if args.pilots == 1 { "pilot" } else { "pilots" },
            if args.plaintext { "plaintext" } else { "mutual TLS" },
            if args.uncompressed { ", uncompressed" } else { "" }
        );
        println!("{}", figures::table(&measured[0], measured.get(1).map(Vec::as_slice)));
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, boshy: &Path, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Figures>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let course = course::run(boshy, args, say);
    LocalSet::new().block_on(&runtime, course)
}

/// The medians of each work, in the order in which the works were done first.
fn by_work(all: &[Figures]) -> Vec<Figures> {
    let mut works: Vec<&str> = all.iter().map(|figures| figures.work).collect();
    let mut seen = std::collections::BTreeSet::new();
    works.retain(|work| seen.insert(*work));
    let of = |work: &str| all.iter().filter(|figures| figures.work == work).cloned().collect::<Vec<_>>();
    works.into_iter().map(|work| Figures::median(&of(work))).collect()
}
