//! Common start-up code of both roles.

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
use boshy_identity::AuthorityError;
use boshy_netfilter::RedirectError;
use boshy_supervision::{ExitReason, Saboteur, Vitals};
use boshy_tls::FileError;
use boshy_web::{
    Health,
    status::Lack,
    test_hooks::{self, Fault, Switch},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::clock;

/// Why a role does not start. An operator has to correct it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken, or does not belong to this machine.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The state directory is in use by another pilot.
    #[error(
        "use {} as the state directory: another pilot uses it, and has locked {}; give each pilot its own",
        directory.display(), lock.display()
    )]
    StateDirInUse {
        /// The directory.
        directory: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// The state directory cannot be used.
    #[error("use {} as the state directory", directory.display())]
    StateDir {
        /// Path of the directory.
        directory: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The DNS server's sockets cannot be bound.
    #[error(transparent)]
    Dns(#[from] BindError),
    /// The director's settings cannot be used.
    #[error("use the director's settings")]
    Director(#[from] SettingsError),
    /// The URL of a pilot is not an address.
    #[error("use {0} as a pilot's address")]
    Pilot(String),
    /// The certificate authority's texts cannot be used.
    #[error("use the certificate authority of `identity`")]
    Identity(#[from] AuthorityError),
    /// The certificate files can no longer be used.
    #[error("use the certificate files")]
    Tls(#[from] FileError),
    /// The redirect rules are not valid.
    #[error("describe the redirect rules")]
    Rules(#[from] RedirectError),
    /// Signals cannot be received.
    #[error("receive signals")]
    Signals(#[source] io::Error),
}

impl StartError {
    /// Whether the settings are at fault, so that a retry does not help.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Director(_) | Self::Pilot(_) | Self::Tls(_) | Self::Rules(_))
    }
}

/// Connections that the kernel keeps until they are accepted, if `net.core.somaxconn` allows as many. All agents come
/// at the same moment when a pilot starts. One that finds no place tries again only after a second.
const BACKLOG: i32 = 4096;

pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| StartError::Listen { address: address.to_string(), source })
}

/// Binds the socket, replacing one that an earlier process left. Owner and group may connect.
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

/// Remedy for an invalid log filter.
pub(crate) const LOG_REMEDY: &str =
    "Mend the property log.filter, and deploy: a level such as info, or a filter such as info,boshy_xds=debug.";

/// A problem of the log's settings, present since the start, for the status.
pub(crate) fn log_lack(reason: String) -> Lack {
    warn!(reason, remedy = LOG_REMEDY, "doing without");
    Lack { what: "log", since: clock::now().0, reason, remedy: LOG_REMEDY.to_owned() }
}

/// Mounts fault injection where the settings ask for it.
pub(crate) fn mount_test_hooks(config: &mut ServiceConfig, saboteur: Option<&Saboteur>) {
    if let Some(saboteur) = saboteur.cloned() {
        let switch: Switch = Arc::new(move |actor, fault| match fault {
            Fault::Panic => saboteur.panic_child(actor),
            Fault::Stick(time) => saboteur.stick_child(actor, time),
        });
        test_hooks::configure(config, &switch);
    }
}

/// The check of `/healthz`: a process with a stuck child has to be restarted, because its tree cannot do that.
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

    /// Waits for a signal. After SIGTERM it also waits for `drained`, unless another signal arrives. SIGINT comes from
    /// a person, who does not want to wait.
    pub(crate) async fn received_and(mut self, drained: impl Future<Output = ()>) {
        tokio::select! {
            _ = self.terminate.recv() => {
                info!("stopping once nobody is connected");
                tokio::select! {
                    () = drained => {}
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

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, time::Duration};

    use super::*;

    #[test]
    fn many_may_connect_before_the_first_is_accepted() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let kept: usize = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
        // More than the backlog that the standard library asks for.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        let connections: Vec<_> = (0..kept.min(500)).map(connect).collect();
        assert_eq!(connections.len(), kept.min(500));
    }
}
