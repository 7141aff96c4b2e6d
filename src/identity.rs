//! `boshy identity`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use boshy_mesh::{RotationStep, TrustStanding};
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{pilot_api::PilotArgs, print::print, socket};

/// How long the pilot may take. It writes to its disk before it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a pilot shows its roots.
const ROOTS: &str = "/identity/roots";

/// Subcommands of `boshy identity`.
#[derive(clap::Subcommand)]
pub(crate) enum IdentityCommand {
    /// Let the VM of an instance have a certificate for another key, because it has lost the one that the pilot knows
    #[command(after_help = ALLOW_HELP)]
    Allow(AllowArgs),
    /// Show the roots of the mesh, which authority issues certificates, and which instances trust which
    Roots(RootsArgs),
    /// Say whether the next step in the change of a root costs no connection, and if it may, who is not ready
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
}

const ALLOW_HELP: &str = "Run it on the VM of each pilot, as root:
  bosh -d bosh-istio ssh bosh-pilot -c 'sudo /var/vcap/packages/boshy/bin/boshy identity allow INSTANCE'

The first key with which the VM's address asks is the known one from then on; the VM asks within two minutes.

Exit codes: 0 done; 1 not done, whose reason is on standard error; 64 wrong usage.";

const CHECK_HELP: &str = "A root is replaced in three deploys of the pilots:
  1. with both roots (identity.roots)
     boshy identity check sign
  2. with the authority under the next root, and both roots
     boshy identity check retire
  3. with the next root alone

Exit codes: 0 go on; 1 do not, for the reasons on standard error; 64 wrong usage.";

/// Arguments of `boshy identity roots`.
#[derive(clap::Args)]
pub(crate) struct RootsArgs {
    #[command(flatten)]
    pilot: PilotArgs,
    /// Print the pilot's answer as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `boshy identity check`.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// The step
    #[arg(value_enum, value_name = "STEP")]
    step: Step,
    #[command(flatten)]
    pilot: PilotArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Step {
    /// To issue certificates by an authority under another root: every instance must trust every root
    Sign,
    /// To take the old root out: no certificate of another authority may be in use
    Retire,
}

/// Arguments of `boshy identity allow`.
#[derive(clap::Args)]
pub(crate) struct AllowArgs {
    /// Id of the instance, or GROUP/ID as `bosh instances` shows it
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// The socket of the pilot on this VM
    #[arg(
        long,
        value_name = "PATH",
        env = "BOSHY_PILOT_SOCKET",
        default_value = "/var/vcap/sys/run/bosh-pilot/health.sock"
    )]
    socket: PathBuf,
}

pub(crate) fn run(command: &IdentityCommand) -> anyhow::Result<ExitCode> {
    match command {
        IdentityCommand::Allow(args) => allow(args),
        IdentityCommand::Roots(args) => roots(args),
        IdentityCommand::Check(args) => check(args),
    }
}

fn roots(args: &RootsArgs) -> anyhow::Result<ExitCode> {
    let answer = args.pilot.get(ROOTS)?;
    let standing: TrustStanding = serde_json::from_slice(&answer).context("read the pilot's answer")?;
    print(&if args.json { String::from_utf8_lossy(&answer).into_owned() } else { standing.to_string() })?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let standing = args.pilot.get(ROOTS)?;
    let standing: TrustStanding = serde_json::from_slice(&standing).context("read the pilot's answer")?;
    let (step, go_on) = match args.step {
        Step::Sign => (RotationStep::Sign, "every instance trusts every root: another authority may sign"),
        Step::Retire => (RotationStep::Retire, "every certificate is of the authority: other roots may be taken out"),
    };
    match standing.check(step) {
        Ok(()) => print(go_on).map(|()| ExitCode::SUCCESS),
        Err(missing) => bail!("not yet:\n{}", missing.join("\n")),
    }
}

fn allow(args: &AllowArgs) -> anyhow::Result<ExitCode> {
    let instance = args.instance.rsplit_once('/').map_or(&*args.instance, |(_, id)| id);
    let path = format!("/identity/allow/{}", utf8_percent_encode(instance, NON_ALPHANUMERIC));
    let answer = socket::ask(&args.socket, "pilot", Request::post(path), PATIENCE);
    let answer = answer.context("see `boshy identity allow --help`")?;
    let answer: Value = serde_json::from_slice(&answer).context("read the pilot's answer")?;
    print(&match answer["known"].as_u64() {
        Some(0) => format!("this pilot knows no key of instance {instance}, so its VM may have any"),
        _ => format!("the next key of the VM of instance {instance} is accepted"),
    })?;
    Ok(ExitCode::SUCCESS)
}
