//! `boshy withdraw`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use boshy_actors::Withdrawn;
use http::Request;

use crate::{print::print, socket};

/// Time for the agent's own part, beside what it waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Arguments of `boshy withdraw`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Longest time to wait for pilots and callers
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=600))]
    within: u64,
    /// Take it back: the VM does not stop after all
    #[arg(long, conflicts_with = "within")]
    undo: bool,
    /// The socket of the agent on this VM
    #[arg(
        long,
        value_name = "PATH",
        env = "BOSHY_AGENT_SOCKET",
        default_value = "/var/vcap/sys/run/virtual-ip-agent/health.sock"
    )]
    socket: PathBuf,
}

const HELP: &str = "The agent's pre-stop script runs it, as root, before any job of the VM drains or stops. It ends once every pilot that
can be reached knows, and callers have had a second to go to other instances. Open connections stay.

Callers get the VM again when its agent starts, at the end of the next start of its jobs, and with --undo.

Exit codes: 0 done; 1 a pilot does not know, for the reason on standard error; 64 wrong usage.";

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.undo {
        socket::ask(&args.socket, "agent", Request::delete("/stopping"), PATIENCE)?;
        print("callers get this VM")?;
        return Ok(ExitCode::SUCCESS);
    }
    let patience = PATIENCE + Duration::from_secs(args.within);
    let request = Request::post(format!("/stopping?within={}", args.within));
    let answer = socket::ask(&args.socket, "agent", request, patience)?;
    let Withdrawn { told, untold, is_called } = serde_json::from_slice(&answer).context("read the agent's answer")?;
    if !untold.is_empty() {
        let reasons: Vec<_> = untold.iter().map(|(pilot, reason)| format!("{pilot}: {reason}")).collect();
        bail!(
            "callers may get this VM until its jobs have stopped, because a pilot does not know:\n{}",
            reasons.join("\n")
        );
    }
    print(&match is_called {
        true => format!("callers no longer get this VM, as told by {}", told.join(", ")),
        false => "this VM is no endpoint of a service".to_owned(),
    })?;
    Ok(ExitCode::SUCCESS)
}
