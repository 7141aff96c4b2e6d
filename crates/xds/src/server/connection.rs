//! Accepted sockets: each takes a place among those of its address, and loses it when no request is made over it.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use boshy_admission::{Admission, Guarded, Limits, Patience, Place};
use futures::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::Identity;

/// Pause after a failed accept. It fails when descriptors run out, and a retry would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Connection limits of a server. An agent needs one connection; behind a NAT, many come from one address.
pub(super) const LIMITS: Limits = Limits { of_one_address: 256, in_all: 16_384 };

/// The connection of a request; stored in the request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Its place, by which it is cut and marked as busy.
    pub(super) place: Place,
    /// Address of the client; `None` for a Unix socket.
    pub(super) client: Option<IpAddr>,
    /// Identity of the client; `None` without TLS.
    pub(super) identity: Option<Identity>,
}

/// Admits connections.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) admission: Admission,
    /// How long a connection may stay without a stream that has requested anything.
    pub(super) unused: Duration,
    /// Cuts all connections.
    pub(super) cut: CancellationToken,
}

impl Gate {
    /// A place for a client; `None` when no connection can be closed for it.
    pub(super) fn admit(&self, client: Option<IpAddr>) -> Option<Place> {
        let admitted = self.admission.admit(client, &self.cut);
        if admitted.is_err() {
            tracing::warn!(?client, "refused a connection to the ADS server: too many of its address are in use");
        }
        admitted.ok()
    }

    pub(super) fn guard<IO>(
        &self,
        io: IO,
        place: Place,
        client: Option<IpAddr>,
        identity: Option<Identity>,
    ) -> Accepted<IO> {
        let patience = Patience { unused: Some(self.unused), unread: None };
        let client = client.map(|client| client.to_canonical());
        let connection = Connection { place: place.clone(), client, identity };
        Accepted { io: Guarded::new(io, place, patience), connection }
    }
}

/// An accepted socket.
pub(super) struct Accepted<IO> {
    io: Guarded<IO>,
    connection: Connection,
}

/// Accepts connections from a TCP socket. TCP_NODELAY is set: pushes are small and wait for answers.
pub(super) fn tcp(
    listener: TcpListener,
    gate: Gate,
) -> impl Stream<Item = Result<Accepted<TcpStream>, Infallible>> + Send {
    stream::unfold((listener, gate), async |(listener, gate)| {
        loop {
            match listener.accept().await.and_then(|accepted| accepted.0.set_nodelay(true).map(|()| accepted)) {
                Ok((socket, client)) => {
                    let Some(place) = gate.admit(Some(client.ip())) else { continue };
                    return Some((Ok(gate.guard(socket, place, Some(client.ip()), None)), (listener, gate)));
                }
                Err(error) => pause(&error).await,
            }
        }
    })
}

/// Accepts connections from a Unix socket.
pub(super) fn unix(
    listener: UnixListener,
    gate: Gate,
) -> impl Stream<Item = Result<Accepted<UnixStream>, Infallible>> + Send {
    stream::unfold((listener, gate), async |(listener, gate)| {
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let Some(place) = gate.admit(None) else { continue };
                    return Some((Ok(gate.guard(socket, place, None, None)), (listener, gate)));
                }
                Err(error) => pause(&error).await,
            }
        }
    })
}

pub(super) async fn pause(error: &io::Error) {
    tracing::warn!(%error, "accept a connection to the ADS server");
    tokio::time::sleep(PAUSE).await;
}

impl<IO> Connected for Accepted<IO> {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Accepted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Accepted<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
