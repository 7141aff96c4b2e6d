//! Waits for all children of process 1 in one place.
//!
//! Process 1 inherits orphans, so it has to wait for any child. Waiting for any child also reaps children that other
//! code waits for by pid. So all ends are collected here and passed on.

use std::{
    collections::HashMap,
    fmt, io,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exit(i32),
    Signal(Signal),
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(formatter, "exit status {code}"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
        }
    }
}

/// The children whose end is awaited.
#[derive(Clone, Default)]
pub(super) struct Children(Arc<Mutex<HashMap<i32, oneshot::Sender<End>>>>);

impl Children {
    /// Collects ends as they occur. Call it before the first child is started, on a runtime of one thread, so that no
    /// end is collected before its child is registered.
    pub(super) fn watch(&self) -> io::Result<()> {
        let mut ends = signal(SignalKind::child())?;
        let children = self.clone();
        tokio::spawn(async move {
            while ends.recv().await.is_some() {
                children.reap();
            }
        });
        Ok(())
    }

    /// Starts a child. Returns its pid and its future end.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<(i32, oneshot::Receiver<End>)> {
        let pid = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
        let (ended, end) = oneshot::channel();
        self.waited_for().insert(pid, ended);
        Ok((pid, end))
    }

    fn reap(&self) {
        loop {
            let (pid, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, End::Exit(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Signal(signal)),
                Err(Errno::EINTR) => continue,
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if let Some(ended) = self.waited_for().remove(&pid.as_raw()) {
                // The receiver may have given up.
                let _ = ended.send(end);
            }
        }
    }

    fn waited_for(&self) -> MutexGuard<'_, HashMap<i32, oneshot::Sender<End>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
