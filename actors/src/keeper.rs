//! The process that keeps the DNS sockets of the agent, and starts the agent again when it crashes.
//!
//! While no process holds the socket, the kernel refuses a question at once, and bosh-dns turns that into "no such
//! host". With this process, a question that arrives during a restart of the agent waits in the kept socket, and is
//! answered some hundredths of a second later. The process does nothing else, so that little in it can crash.

use std::{
    env, io,
    os::unix::process::{CommandExt, parent_id},
    process::{Child, Command, ExitStatus},
    time::Instant,
};

use boshy_backoff::Falls;
use boshy_config::AgentSettings;
use boshy_dns::Sockets;
use err_report::Report;
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};
use tracing::{info, warn};

/// Tells the agent the pid of its keeper.
const VARIABLE: &str = "BOSHY_KEEPER";
/// Exit code of invalid settings, which a restart does not correct (`EX_USAGE`).
const USAGE: u8 = 64;

/// Whether a keeper has started this process. If so, the process then ends together with its keeper, which leaves no
/// process behind.
pub fn is_kept() -> bool {
    let Ok(keeper) = env::var(VARIABLE) else { return false };
    // The keeper blocks signals to read them from a descriptor; this process receives them in the usual way.
    if let Err(error) = SigSet::empty().thread_set_mask() {
        warn!(%error, "signals stay blocked");
    }
    // The end of a keeper before the call above is not signalled.
    if set_pdeathsig(Signal::SIGKILL).is_err() || keeper != parent_id().to_string() {
        warn!("the process that started this agent is gone");
    }
    true
}

/// Starts this program again with the same arguments, and restarts it after each crash, until it ends orderly. Returns
/// its exit code. SIGTERM and SIGINT are passed on.
///
/// # Errors
/// When it cannot be started.
pub fn keep(settings: &AgentSettings) -> io::Result<u8> {
    let mut watched = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        watched.add(signal);
    }
    watched.thread_block()?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC)?;
    let (mut sockets, mut falls) = (None, Falls::default());
    loop {
        // A socket that another job holds is reported by the agent, which binds it when it is free; it is not kept
        // then.
        sockets = sockets.or_else(|| Sockets::bind(settings.dns).ok());
        let begun = Instant::now();
        let mut child = start(sockets.as_ref())?;
        let Some(fall) = attend(&mut child, &signals)? else { return Ok(0) };
        if fall.code() == Some(i32::from(USAGE)) {
            return Ok(USAGE);
        }
        let Some(pause) = falls.after(begun.elapsed()) else { return Ok(1) };
        warn!(%fall, ?pause, "the agent fell and is started again");
        std::thread::sleep(pause);
    }
}

fn start(sockets: Option<&Sockets>) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(env::args_os().skip(1))
        .arg0(env::args_os().next().unwrap_or_else(|| "boshy".into()))
        .env(VARIABLE, std::process::id().to_string());
    if let Some(Err(error)) = sockets.map(|sockets| sockets.lend(&mut command)) {
        warn!(error = Report::new(&error).to_string(), "the agent binds its own DNS sockets");
    }
    command.spawn()
}

/// How the agent crashed; `None` when it ended orderly or was told to end.
fn attend(child: &mut Child, signals: &SignalFd) -> io::Result<Option<ExitStatus>> {
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!status.success() && !told).then_some(status));
        }
        let Some(signal) = signals.read_signal()? else { continue };
        let signal = Signal::try_from(signal.ssi_signo.cast_signed())?;
        if signal != Signal::SIGCHLD {
            info!(%signal, "passed on to the agent");
            told = true;
            let agent = Pid::from_raw(child.id().cast_signed());
            // If it has just ended on its own, the next check notices it.
            let _ = kill(agent, signal);
        }
    }
}
