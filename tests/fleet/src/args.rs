//! What is to be measured.

use std::path::PathBuf;

use clap::{Parser, builder::RangedU64ValueParser};

use crate::site::GROUPS;

const EXAMPLES: &str = "Examples:
  make bench-scale                                  1,000 agents, 1,000 services, over mutual TLS
  make bench-scale PROXIES=10000 SERVICES=100
  make bench-scale PROXIES=10000 SERVICES=100 PILOTS=3          one of three pilots is killed
  make bench-scale AGAINST=/tmp/boshy-of-another-commit ROUNDS=3
  target/release/boshy-fleet --proxies 200 --services 200 --plaintext --json

docs/benchmarks.md says how to read the table. Progress is on standard error.";

/// Measure what many agents cost a pilot: real connections of simulated agents to a real `boshy pilot`, on loopback in
/// a network namespace of its own.
#[derive(Clone, Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The program whose pilot is measured, as it is released
    #[arg(long, default_value = "target/release/boshy", value_name = "BOSHY")]
    pub(crate) boshy: PathBuf,
    /// Another program, whose pilot is measured in turn with the first one's
    #[arg(long, value_name = "OTHER_BOSHY")]
    pub(crate) against: Option<PathBuf>,
    /// Agents
    #[arg(long, default_value_t = 1000, value_parser = RangedU64ValueParser::<usize>::new().range(2..))]
    pub(crate) proxies: usize,
    /// Services, of 3 instances each, in deployments of 20
    #[arg(long, default_value_t = 1000, value_parser = RangedU64ValueParser::<usize>::new().range(2 * GROUPS as u64..))]
    pub(crate) services: usize,
    /// Pilots. Of several, one is killed and comes back; nothing else is measured then
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) pilots: u8,
    /// Connect in plaintext instead of mutual TLS
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// Accept no compressed messages, as agents of earlier versions
    #[arg(long)]
    pub(crate) uncompressed: bool,
    /// How often everything is measured; the table has medians
    #[arg(long, default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) rounds: usize,
    /// Print a line of JSON for each work instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_deployment_can_be_deleted_and_not_be_the_only_one() {
        let parse = |services| Args::try_parse_from(["boshy-fleet", "--services", services]).map(|args| args.services);
        assert_eq!(parse("40").ok(), Some(40));
        assert!(parse("39").is_err_and(|error| error.to_string().contains("40")));
    }
}
