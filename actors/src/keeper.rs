//! The process that keeps the DNS sockets of the agent, and starts the agent again when it falls.
//!
//! A question that arrives while nobody holds the socket is refused by the kernel at once, and bosh-dns makes "no such host" of that.
//! One that arrives while the agent is started again waits in the socket that this process keeps, and is answered some hundredths of a
//! second later. It does nothing else, so that there is little in it that could fall.

use std::{
    env, io,
    os::unix::process::{CommandExt, parent_id},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

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

use crate::backoff::Pause;

/// Tells the agent who keeps it.
const VARIABLE: &str = "BOSHY_KEEPER";
/// Exit code of wrong settings, which no start mends (`EX_USAGE`).
const USAGE: u8 = 64;
/// Falls in a row, each soon after its start, that are borne; then it is for monit to decide.
const FALLS: u32 = 10;
/// A life as long as this ends a row.
const QUIET: Duration = Duration::from_secs(60);
/// Pauses between two starts, after the first fall of a row.
const SHORTEST: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_secs(5);

/// Whether this process is one that a keeper has started. It then ends with its keeper, which leaves nobody behind.
pub fn is_kept() -> bool {
    let Ok(keeper) = env::var(VARIABLE) else { return false };
    // What the keeper takes from a descriptor comes to this process as usual.
    if let Err(error) = SigSet::empty().thread_set_mask() {
        warn!(%error, "signals stay blocked");
    }
    // A keeper that ended before this line is not told of any more.
    if set_pdeathsig(Signal::SIGKILL).is_err() || keeper != parent_id().to_string() {
        warn!("the process that started this agent is gone");
    }
    true
}

/// Starts this program again with the same arguments, and again when it falls, until it ends in order; answers its exit code. SIGTERM and
/// SIGINT are passed on.
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
    let (mut sockets, mut row) = (None, Row::new());
    loop {
        // What another job holds the agent reports, and takes when it is free; then it is not kept.
        sockets = sockets.or_else(|| Sockets::bind(settings.dns).ok());
        let begun = Instant::now();
        let mut child = start(sockets.as_ref())?;
        let Some(fall) = attend(&mut child, &signals)? else { return Ok(0) };
        if fall.code() == Some(i32::from(USAGE)) {
            return Ok(USAGE);
        }
        let Some(pause) = row.fall_after(begun.elapsed()) else { return Ok(1) };
        warn!(%fall, ?pause, "the agent fell and is started again");
        std::thread::sleep(pause);
    }
}

/// Falls, each soon after its start.
struct Row {
    falls: u32,
    pause: Pause,
}

impl Row {
    fn new() -> Self {
        Self { falls: 0, pause: Pause::new(SHORTEST, LONGEST) }
    }

    /// The pause before the next start, none after the first fall, because questions wait; `None` when the row is too long.
    fn fall_after(&mut self, life: Duration) -> Option<Duration> {
        if life >= QUIET {
            *self = Self::new();
        }
        self.falls += 1;
        match self.falls {
            1 => Some(Duration::ZERO),
            falls => (falls <= FALLS).then(|| self.pause.failed()),
        }
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

/// How the agent fell; `None` when it ended in order, or was told to end.
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
            // One that has ended by itself meanwhile is found at the next look.
            let _ = kill(agent, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_again_is_at_once_the_pauses_grow_to_a_bound_and_a_quiet_life_ends_a_row() {
        let mut row = Row::new();
        let pauses: Vec<_> = (0..FALLS).map_while(|_| row.fall_after(Duration::ZERO)).collect();
        assert_eq!((pauses.len(), pauses[0]), (10, Duration::ZERO));
        assert!(pauses[1] <= SHORTEST && pauses[9] > LONGEST / 2 && pauses[9] <= LONGEST, "{pauses:?}");
        assert_eq!(row.fall_after(Duration::ZERO), None);
        assert_eq!(row.fall_after(QUIET), Some(Duration::ZERO));
    }
}
