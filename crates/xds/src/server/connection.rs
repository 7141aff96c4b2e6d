//! Accepted sockets that can be cut from outside.
//!
//! Ending a gRPC stream takes a peer that reads. For one that does not there is only its connection, which is made to fail.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// Pause after a failed accept. It fails for want of descriptors, and at once again.
const PAUSE: Duration = Duration::from_millis(100);

/// The connection of a request; in the request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Cuts it.
    pub(super) cut: CancellationToken,
    /// Subject of the certificate that the client showed; `None` without TLS.
    pub(super) subject: Option<Arc<str>>,
}

/// A socket that fails once it is cut.
pub(super) struct Guarded<IO> {
    io: IO,
    connection: Connection,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<IO> Guarded<IO> {
    pub(super) fn new(io: IO, subject: Option<Arc<str>>, cut: CancellationToken) -> Self {
        Self { io, waiting: Box::pin(cut.clone().cancelled_owned()), connection: Connection { cut, subject } }
    }

    /// Wakes the task when the socket is cut while it waits for it.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.waiting.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

/// Connections to a TCP socket. Each is served at once and not once a packet is full: pushes are small and wait for answers.
pub(super) fn tcp(
    listener: TcpListener,
    cut: CancellationToken,
) -> impl Stream<Item = Result<Guarded<TcpStream>, Infallible>> {
    stream::unfold((listener, cut), async |(listener, cut)| {
        loop {
            match listener.accept().await.and_then(|(socket, _)| socket.set_nodelay(true).map(|()| socket)) {
                Ok(socket) => return Some((Ok(Guarded::new(socket, None, cut.child_token())), (listener, cut))),
                Err(error) => pause(&error).await,
            }
        }
    })
}

/// Connections to a Unix socket.
pub(super) fn unix(
    listener: UnixListener,
    cut: CancellationToken,
) -> impl Stream<Item = Result<Guarded<UnixStream>, Infallible>> {
    stream::unfold((listener, cut), async |(listener, cut)| {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => return Some((Ok(Guarded::new(socket, None, cut.child_token())), (listener, cut))),
                Err(error) => pause(&error).await,
            }
        }
    })
}

pub(super) async fn pause(error: &io::Error) {
    tracing::warn!(%error, "accept a connection to the ADS server");
    tokio::time::sleep(PAUSE).await;
}

impl<IO> Connected for Guarded<IO> {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
