//! The socket at which Envoy is served, and the threads that carry tunnels.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net},
    path::Path,
    thread,
    time::Duration,
};

use err_report::Report;
use http::HeaderName;
use tokio::{net::UnixListener, runtime, sync::mpsc, task::JoinSet, time::sleep};
use tracing::warn;

use crate::{Parts, connection};

/// Pause after a failure to accept, which mostly means that no file can be opened.
const RETRY: Duration = Duration::from_secs(1);

/// A bound tunnel end.
pub struct TunnelEnd {
    listener: UnixListener,
    /// One for each thread.
    threads: Vec<mpsc::UnboundedSender<net::UnixStream>>,
}

impl TunnelEnd {
    /// Binds the socket, in place of one that an earlier process has left, and starts the threads. They end with this
    /// value.
    ///
    /// # Errors
    /// When the socket cannot be bound, or no thread started.
    pub fn start(parts: &Parts) -> io::Result<Self> {
        let listener = bound(&parts.socket)?;
        let threads = (0..parts.threads.max(1)).map(|number| start_thread(number, parts)).collect::<io::Result<_>>()?;
        Ok(Self { listener, threads })
    }

    /// Serves Envoy, for ever.
    pub async fn serve(self) {
        let mut turns = self.threads.iter().cycle();
        loop {
            match self.listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                // A thread lives as long as this value.
                Ok(stream) => drop(turns.next().map(|thread| thread.send(stream))),
                Err(error) => {
                    warn!(error = Report::new(&error).to_string(), "accept a connection of Envoy");
                    sleep(RETRY).await;
                }
            }
        }
    }
}

fn bound(path: &Path) -> io::Result<UnixListener> {
    // That of an earlier process, which the kernel does not remove.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[expect(
    clippy::disallowed_methods,
    reason = "whatever panics there is a task of its own, which ends its tunnel alone"
)]
fn start_thread(number: usize, parts: &Parts) -> io::Result<mpsc::UnboundedSender<net::UnixStream>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let program = parts.program.clone();
    thread::Builder::new()
        .name(format!("tunnels-{number}"))
        .spawn(move || runtime.block_on(carry(receiver, program)))
        .map(|_| sender)
}

#[expect(clippy::disallowed_methods, reason = "a panic ends the one connection of Envoy, which makes another")]
async fn carry(mut accepted: mpsc::UnboundedReceiver<net::UnixStream>, program: HeaderName) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            stream = accepted.recv() => match stream {
                Some(stream) => drop(open.spawn(connection::serve(stream, program.clone()))),
                None => return,
            },
            Some(_) = open.join_next() => {}
        }
    }
}
