//! What both roles do before and around their tree.

use std::{
    fs,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use actix_rt::System;
use actix_web::web::ServiceConfig;
use boshy_director::client::SettingsError;
use boshy_dns::BindError;
use boshy_netfilter::RulesetError;
use boshy_supervision::{ExitReason, Saboteur, Vitals};
use boshy_tls::FileError;
use boshy_web::{
    Health,
    status::Lack,
    test_hooks::{self, Fault, Switch},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::clock;

/// Why a role does not start. All of it is for an operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or not of this machine.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A state directory with two pilots.
    #[error(
        "use {} as the state directory: another pilot uses it, and has locked {}; give each pilot its own",
        directory.display(), lock.display()
    )]
    StateDirInUse {
        /// The directory.
        directory: PathBuf,
        /// What is locked.
        lock: PathBuf,
    },
    /// A state directory that is none.
    #[error("use {} as the state directory", directory.display())]
    StateDir {
        /// Where it should be.
        directory: PathBuf,
        /// Why it is none.
        #[source]
        source: io::Error,
    },
    /// The DNS server's sockets.
    #[error(transparent)]
    Dns(#[from] BindError),
    /// A director that cannot be asked as configured.
    #[error("use the director's settings")]
    Director(#[from] SettingsError),
    /// A pilot's URL that is no address.
    #[error("use {0} as a pilot's address")]
    Pilot(String),
    /// Certificate files that were good a moment ago.
    #[error("use the certificate files")]
    Tls(#[from] FileError),
    /// Rules that cannot be.
    #[error("describe the redirect rules")]
    Rules(#[from] RulesetError),
    /// Signals cannot be received.
    #[error("receive signals")]
    Signals(#[source] io::Error),
}

impl StartError {
    /// Whether the settings are at fault, so that trying again does not help.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Director(_) | Self::Pilot(_) | Self::Tls(_) | Self::Rules(_))
    }
}

pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { address: address.to_string(), source })
}

/// Binds the socket, over one that an earlier process left. Owner and group may connect.
pub(crate) fn listen_unix(path: &Path) -> Result<UnixListener, StartError> {
    let bind = || -> io::Result<UnixListener> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        Ok(listener)
    };
    bind().map_err(|source| StartError::Listen { address: path.display().to_string(), source })
}

/// What to do about a filter of the log that is none.
pub(crate) const LOG_REMEDY: &str =
    "Mend the property log.filter, and deploy: a level such as info, or a filter such as info,boshy_xds=debug.";

/// What is wrong with how a role logs, since its start.
pub(crate) fn log_lack(reason: String) -> Lack {
    warn!(reason, remedy = LOG_REMEDY, "doing without");
    Lack { what: "log", since: clock::now().0, reason, remedy: LOG_REMEDY.to_owned() }
}

/// Mounts faults on request where the settings asked for a saboteur.
pub(crate) fn mount_test_hooks(config: &mut ServiceConfig, saboteur: Option<&Saboteur>) {
    if let Some(saboteur) = saboteur.cloned() {
        let switch: Switch = Arc::new(move |actor, fault| match fault {
            Fault::Panic => saboteur.panic_child(actor),
            Fault::Stick(time) => saboteur.stick_child(actor, time),
        });
        test_hooks::configure(config, &switch);
    }
}

/// What `/healthz` says: a process with a stuck child has to be restarted, because its tree cannot do that.
pub(crate) fn health(vitals: Vitals) -> Health {
    Arc::new(move || {
        let stuck: Vec<String> = vitals.stuck().iter().map(ToString::to_string).collect();
        if stuck.is_empty() { Ok(()) } else { Err(stuck.join("; ")) }
    })
}

/// Runs a role in an actix system until SIGTERM or SIGINT, or until its tree gives up.
pub(crate) fn run_system<F, R>(role: F) -> Result<ExitReason, StartError>
where
    F: FnOnce(ShutdownSignal) -> R,
    R: Future<Output = ExitReason>,
{
    System::new().block_on(async move {
        let ended = role(ShutdownSignal::new()?).await;
        info!(%ended, "stopped");
        Ok(ended)
    })
}

/// SIGTERM or SIGINT.
pub(crate) struct ShutdownSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignal {
    fn new() -> Result<Self, StartError> {
        let receive = |kind| signal(kind).map_err(StartError::Signals);
        Ok(Self { terminate: receive(SignalKind::terminate())?, interrupt: receive(SignalKind::interrupt())? })
    }

    /// Waits for a signal, and after SIGTERM for `farewell` too, unless another signal comes. SIGINT is a person's, who does not wait.
    pub(crate) async fn received_and(mut self, farewell: impl Future<Output = ()>) {
        tokio::select! {
            _ = self.terminate.recv() => {
                info!("stopping once nobody is connected");
                tokio::select! {
                    () = farewell => {}
                    _ = self.terminate.recv() => {}
                    _ = self.interrupt.recv() => {}
                }
            }
            _ = self.interrupt.recv() => {}
        }
        info!("stopping");
    }

    pub(crate) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        info!("stopping");
    }
}
