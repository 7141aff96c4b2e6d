//! `boshy authz`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use boshy_mesh::{Problem, Verdict, WrittenConfig};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{pilot_api::PilotArgs, print::print};

/// Subcommands of `boshy authz`.
#[derive(clap::Subcommand)]
pub(crate) enum AuthzCommand {
    /// Say what becomes of a connection and by which document and line, or check files of policies
    #[command(after_help = EXAMPLES)]
    Check(CheckArgs),
}

const EXAMPLES: &str = "Examples:
  boshy authz check shop/web mysql.db.shop.boshy:3306
  boshy authz check --pilot http://10.0.0.9:8080 spiffe://partner/ns/a/sa/b mysql.db.shop.boshy:3306
  boshy authz check --pilot https://10.0.0.9:8443 --pilot-ca pilot_ca.pem shop/web mysql.db.shop.boshy:3306
  boshy authz check 10.9.0.1 mysql.db.shop.boshy:3306
  boshy authz check --json shop/web mysql.db.shop.boshy:3306 | jq .policies.documents
  boshy authz check --file net.yml --file shop.yml

Exit codes: 0 the connection is allowed, or the files are right; 1 it is denied, a file is wrong, or there is no answer;
64 wrong usage.";

/// Arguments of `boshy authz check`.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// Who calls: DEPLOYMENT/GROUP, spiffe://TRUST_DOMAIN/ns/DEPLOYMENT/sa/GROUP, or an address, of an instance or elsewhere
    #[arg(value_name = "FROM", required_unless_present = "file", requires = "to")]
    from: Option<String>,
    /// Whom: name in the mesh and port, such as mysql.db.shop.boshy:3306
    #[arg(value_name = "TO:PORT")]
    to: Option<String>,
    #[command(flatten)]
    pilot: PilotArgs,
    /// Print the pilot's answer as JSON
    #[arg(long, conflicts_with = "file")]
    json: bool,
    /// Check a file of policies as it would be uploaded; nobody is asked
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    file: Vec<PathBuf>,
}

pub(crate) fn run(command: &AuthzCommand) -> anyhow::Result<ExitCode> {
    let AuthzCommand::Check(args) = command;
    match (&args.from, &args.to) {
        (Some(from), Some(to)) => connection(args, from, to),
        _ => files(&args.file),
    }
}

/// Prints what is wrong in files, as `FILE:LINE:COLUMN: reason`.
fn files(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut is_right = true;
    for file in files {
        let content = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match boshy_policy::read(&WrittenConfig { name, content }) {
            Ok(documents) => {
                let count = documents.modes.len() + documents.authorizations.len();
                print(&format!("{}: right, {count} documents", file.display()))?;
            }
            Err(problems) => {
                is_right = false;
                problems.iter().try_for_each(|problem| print(&located(file, problem)))?;
            }
        }
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn located(file: &Path, Problem { place, reason }: &Problem) -> String {
    match place.position {
        Some(at) => format!("{}:{}:{}: {reason}", file.display(), at.line, at.column),
        None => format!("{}: {reason}", file.display()),
    }
}

/// Asks the pilot about a connection.
fn connection(args: &CheckArgs, from: &str, to: &str) -> anyhow::Result<ExitCode> {
    let [from, to] = [from, to].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
    let answer = args.pilot.get(&format!("/authz?from={from}&to={to}"))?;
    let verdict: Verdict = serde_json::from_slice(&answer).context("read the pilot's answer")?;
    if args.json {
        print(&String::from_utf8_lossy(&answer))?;
    } else {
        print(&verdict.to_string())?;
    }
    Ok(if verdict.policies.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
