//! Sockets that can be cut from outside, and that are cut when they are unused.
//!
//! A request can be ended properly only when the peer reads. Otherwise the connection itself has to fail.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::Place;

/// How long a connection may stay open unused; `None` where another layer enforces a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// Limit while the connection is not [busy](Place::busy), counted from its beginning and again after each use.
    pub unused: Option<Duration>,
    /// Limit while the peer accepts none of the data to be written.
    pub unread: Option<Duration>,
}

/// A socket that fails once it is cut, or has been unused for too long.
#[derive(Debug)]
pub struct Guarded<IO> {
    io: IO,
    place: Place,
    patience: Patience,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    unused: Option<Pin<Box<Sleep>>>,
    unread: Option<Pin<Box<Sleep>>>,
}

impl<IO> Guarded<IO> {
    /// Wraps the socket of the connection that holds this place.
    #[must_use]
    pub fn new(io: IO, place: Place, patience: Patience) -> Self {
        let cut = Box::pin(place.cut().clone().cancelled_owned());
        Self { io, place, patience, cut, unused: None, unread: None }
    }

    /// The connection's place.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Fails when the socket is cut or its time is up. Otherwise it registers the waiting task to be woken when either
    /// happens.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some(patience) = self.patience.unused {
            if self.place.usage().is_busy() {
                self.unused = None;
            } else if over(&mut self.unused, patience, context) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Records the outcome of a write.
    fn wrote<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.unread = None;
            self.place.usage().touch();
        } else if let Some(patience) = self.patience.unread
            && over(&mut self.unread, patience, context)
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

/// Whether the time is up, counted from the first call.
fn over(deadline: &mut Option<Pin<Box<Sleep>>>, patience: Duration, context: &mut Context<'_>) -> bool {
    deadline.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(context).is_ready()
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            self.place.usage().touch();
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let wrote = Pin::new(&mut self.io).poll_write(context, bytes);
        self.wrote(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let wrote = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.wrote(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        // A flush that had nothing to send does not show that the peer reads.
        if flushed.is_ready() { flushed } else { self.wrote(context, flushed) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Admission, Limits};

    const SECOND: Duration = Duration::from_secs(1);

    fn place() -> Place {
        let admission = Admission::new(Limits { of_one_address: 1, in_all: 1 });
        admission.admit(Some(Ipv4Addr::LOCALHOST.into()), &CancellationToken::new()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_gives_way_fails_where_it_waits_and_its_place_is_free() {
        let admission = Admission::new(Limits { of_one_address: 1, in_all: 9 });
        let parent = CancellationToken::new();
        let address = Some(Ipv4Addr::LOCALHOST.into());
        let (_peer, socket) = duplex(64);
        let mut first = Guarded::new(socket, admission.admit(address, &parent).unwrap(), Patience::default());
        let reading = tokio::spawn(async move { first.read_u8().await });
        tokio::task::yield_now().await;
        let second = admission.admit(address, &parent).unwrap();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!((admission.count(), admission.turned_away()), (1, (1, 0)));
        let busy = second.busy();
        assert!(admission.admit(address, &parent).is_err());
        drop((busy, second));
        assert_eq!(admission.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_not_used_is_cut_also_when_octets_drip_and_after_a_use() {
        let patience = Patience { unused: Some(5 * SECOND), unread: None };
        let (mut peer, socket) = duplex(64);
        let mut guarded = Guarded::new(socket, place(), patience);
        let use_of_it = guarded.place().busy();
        tokio::spawn(async move {
            loop {
                if peer.write_u8(0).await.is_err() {
                    return;
                }
                sleep(SECOND).await;
            }
        });
        for _ in 0..60 {
            guarded.read_u8().await.unwrap();
        }
        drop(use_of_it);
        let begin = Instant::now();
        let error = loop {
            if let Err(error) = guarded.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() <= 7 * SECOND, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_cut() {
        let patience = Patience { unused: None, unread: Some(5 * SECOND) };
        let (peer, socket) = duplex(64);
        let mut guarded = Guarded::new(socket, place(), patience);
        let begin = Instant::now();
        let error = guarded.write_all(&[0; 128]).await.unwrap_err();
        assert_eq!((error.kind(), begin.elapsed()), (io::ErrorKind::TimedOut, 5 * SECOND));
        drop(peer);
    }
}
