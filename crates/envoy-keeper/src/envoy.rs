//! One Envoy: its process and its sockets.

use std::{
    fs, io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, kill},
    },
    unistd::{Pid, getpid, getppid},
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tracing::{info, warn};

use crate::{EnvoySockets, KeepError, KeeperParts, admin::Admin};

/// Time between SIGTERM and SIGKILL. With the longest `stop_timeout` it is less than the time that bpm gives a process.
const GRACE: Duration = Duration::from_secs(3);

/// Which of the two sets of sockets an Envoy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Zero,
    One,
}

impl Slot {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }

    /// The sockets of this slot that can be bound.
    fn sockets(self, parts: &KeeperParts) -> EnvoySockets {
        let number = match self {
            Self::Zero => 0,
            Self::One => 1,
        };
        let path = |name: &str| parts.run_dir.join(format!("{name}-{number}.sock"));
        let bindable = |path: PathBuf| can_be_bound(&path).then_some(path);
        let health = parts.health_socket.as_ref().and_then(|_| bindable(path("health")));
        let tunnel_end = parts.tunnel_end.as_ref().map(|end| end.socket.clone());
        EnvoySockets { admin: bindable(path("admin")), health, tunnel_end }
    }
}

/// Whether Envoy will be able to bind the socket.
fn can_be_bound(path: &Path) -> bool {
    // An earlier Envoy's socket, which the next Envoy would replace as well.
    let _ = fs::remove_file(path);
    let bound = UnixListener::bind(path).and_then(|_| fs::remove_file(path));
    if let Err(error) = &bound {
        warn!(socket = %path.display(), %error, "cannot be bound: Envoy starts without it");
    }
    bound.is_ok()
}

/// A running Envoy. It is killed when the value is dropped.
pub(crate) struct Envoy {
    child: Child,
    pub(crate) slot: Slot,
    pub(crate) sockets: EnvoySockets,
    begun: Instant,
}

impl Envoy {
    pub(crate) fn start(parts: &KeeperParts, slot: Slot) -> Result<Self, KeepError> {
        let sockets = slot.sockets(parts);
        let bootstrap = (parts.bootstrap)(&sockets).map_err(KeepError::Bootstrap)?;
        let mut command = Command::new(&parts.program);
        command.arg("--config-yaml").arg(bootstrap).args(&parts.arguments).stdin(Stdio::null());
        let child = bound_to_this_thread(&mut command)
            .spawn()
            .map_err(|source| KeepError::Start { program: parts.program.clone(), source })?;
        info!(pid = child.id(), "Envoy is started");
        Ok(Self { child, slot, sockets, begun: Instant::now() })
    }

    /// Its admin interface; `None` when it runs without.
    pub(crate) fn admin(&self) -> Option<Admin> {
        self.sockets.admin.clone().map(Admin)
    }

    /// Time since its start.
    pub(crate) fn life(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits until it ends by itself. Nothing is lost when the wait is given up.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it in order, or by force when that takes too long.
    pub(crate) async fn end(&mut self) -> Result<(), KeepError> {
        if let Some(pid) = self.child.id() {
            // If it has just ended by itself, the wait below notices it.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
        }
        match timeout(GRACE, self.child.wait()).await {
            Ok(status) => drop(status.map_err(KeepError::Wait)?),
            Err(_) => {
                warn!(pid = self.child.id(), "Envoy does not end by SIGTERM, and is killed");
                self.child.kill().await.map_err(KeepError::Wait)?;
            }
        }
        Ok(())
    }
}

/// Lets the process end together with the thread that starts it. It has its own process group, so that a signal for the
/// parent's group, such as that of Ctrl-C, reaches the parent alone, which waits for connections first.
#[expect(unsafe_code, reason = "only the new process itself can ask for a signal at the end of its parent")]
fn bound_to_this_thread(command: &mut Command) -> &mut Command {
    let parent = getpid();
    command.process_group(0).kill_on_drop(true);
    // SAFETY: both calls are system calls without allocation, which are allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // The end of a parent before the call above is not signalled.
            if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        })
    }
}

/// The output of `envoy --version`.
///
/// # Errors
/// When the program cannot be run, or does not know its version.
pub fn version(program: &Path) -> Result<String, KeepError> {
    let failed = |source| KeepError::Start { program: program.to_owned(), source };
    let output = std::process::Command::new(program).arg("--version").output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(io::Error::other(format!("`--version` ended with {}", output.status))))
}
