//! The settled addresses: each connection is passed on to the current Envoy.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use err_report::Report;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, UnixListener, UnixStream},
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// Connections at the same time; more of them wait.
const MOST: usize = 512;
/// Longest life of a connection, so that those that say nothing do not take every place for ever.
const LONGEST: Duration = Duration::from_secs(600);
/// Time until an address that is taken is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Socket of the current Envoy; `None` when it has none.
pub(crate) type Target = watch::Receiver<Option<PathBuf>>;

/// Serves an address of TCP, for ever.
pub(crate) async fn serve_tcp(address: SocketAddr, target: Target) {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let listener = bound(&address.to_string(), bind).await;
    serve(|| async { Ok(listener.accept().await?.0) }, target).await;
}

/// Serves a Unix socket, which owner and group may use, for ever.
pub(crate) async fn serve_unix(path: &Path, target: Target) {
    let bind = || {
        // That of an earlier process, which the kernel does not remove.
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        Ok(listener)
    };
    let listener = bound(&path.display().to_string(), bind).await;
    serve(|| async { Ok(listener.accept().await?.0) }, target).await;
}

/// A listener, once its address is free. Envoy carries connections meanwhile; only this address is missing.
async fn bound<L>(address: &str, bind: impl Fn() -> io::Result<L>) -> L {
    let mut told = false;
    loop {
        match bind() {
            Ok(listener) if told => {
                info!(address, "served");
                return listener;
            }
            Ok(listener) => return listener,
            Err(error) => {
                if !told {
                    warn!(address, %error, "cannot be served, and is tried again");
                }
                told = true;
                sleep(RETRY).await;
            }
        }
    }
}

async fn serve<S, F>(accept: impl Fn() -> F, target: Target)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = io::Result<S>>,
{
    let mut open = FuturesUnordered::new();
    loop {
        let accepted = pin!(accept());
        tokio::select! {
            Some(()) = open.next() => {}
            accepted = accepted, if open.len() < MOST => match accepted {
                Ok(stream) => open.push(pass_on(stream, target.clone())),
                // Mostly that no file can be opened; one is free when a connection ends.
                Err(error) => {
                    warn!(error = Report::new(&error).to_string(), "accept a connection");
                    sleep(RETRY).await;
                }
            },
        }
    }
}

/// Passes one connection on. Where no Envoy answers it is closed.
async fn pass_on(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: Target) {
    let Some(path) = target.borrow().clone() else { return };
    let Ok(mut envoy) = UnixStream::connect(path).await else { return };
    // How it ends concerns the two ends alone.
    let _ = timeout(LONGEST, copy_bidirectional(&mut stream, &mut envoy)).await;
}
