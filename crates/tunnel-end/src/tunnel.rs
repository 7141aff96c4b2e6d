//! One tunnel: both halves of a connection, copied until they end.

use std::{cell::RefCell, future::poll_fn, io, net::Shutdown, pin::pin, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::{Either, select};
use h2::{RecvStream, SendStream};
use socket2::SockRef;
use tokio::{net::TcpStream, time::timeout};

/// Octets that are read from a program at once.
const AT_ONCE: usize = 64 << 10;
/// Space for a read below which there is new space.
const ENOUGH: usize = 16 << 10;
thread_local! {
    /// Space for what is read next, of all tunnels of a thread: an idle one needs none, and small pieces share it.
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}
/// How long a program may take to read what arrived before its caller's reset.
const GRACE: Duration = Duration::from_secs(1);

/// Who has ended a tunnel without order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Program,
    Caller,
}

/// Copies both halves until both have ended, or one end has broken the tunnel.
pub(crate) async fn carry(program: TcpStream, from_caller: RecvStream, to_caller: SendStream<Bytes>) {
    let (up, down) = (pin!(up(&program, to_caller)), pin!(down(&program, from_caller)));
    let broken = match select(up, down).await {
        Either::Left(((to_caller, Ok(())), down)) => match select(down, pin!(is_reset(to_caller))).await {
            Either::Left((ended, _)) => ended.err(),
            Either::Right(((), down)) => given_to_the_program(down).await,
        },
        Either::Left(((_, Err(Broken::Caller)), down)) => given_to_the_program(down).await,
        Either::Left(((_, Err(Broken::Program)), _)) => None,
        // What the program has sent before is still there.
        Either::Right((Ok(()) | Err(Broken::Program), up)) => up.await.1.err(),
        Either::Right((Err(Broken::Caller), _)) => Some(Broken::Caller),
    };
    if broken == Some(Broken::Caller) {
        let _ = program.set_zero_linger();
    }
    // A stream whose caller has not ended its half is reset by h2 now, when all is sent.
}

/// After the caller's reset: the program gets what had arrived before, if it reads.
async fn given_to_the_program(down: impl Future<Output = Result<(), Broken>>) -> Option<Broken> {
    let _ = timeout(GRACE, down).await;
    Some(Broken::Caller)
}

/// From the program to its caller. Returns the stream, which may still be reset.
async fn up(program: &TcpStream, mut to: SendStream<Bytes>) -> (SendStream<Bytes>, Result<(), Broken>) {
    let ended = copied_up(program, &mut to).await;
    (to, ended)
}

async fn copied_up(program: &TcpStream, to: &mut SendStream<Bytes>) -> Result<(), Broken> {
    loop {
        tokio::select! {
            // What it is comes with the attempt to read.
            _ = program.readable() => {}
            () = reset(to) => return Err(Broken::Caller),
        }
        let room = admitted(to).await?.min(AT_ONCE);
        let (octets, read, ended) = match read(program, room) {
            Ok(octets) if octets.is_empty() => (octets, Ok(()), true),
            Ok(octets) => (octets, Ok(()), false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // Its reset. To its caller it is an end in order: Envoy would take back what it has not written yet.
            Err(_) => (Bytes::new(), Err(Broken::Program), true),
        };
        to.send_data(octets, ended).map_err(|_| Broken::Caller)?;
        if ended {
            return read;
        }
    }
}

/// Reads what a program has sent, at most this number of octets.
fn read(program: &TcpStream, room: usize) -> io::Result<Bytes> {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.capacity() < room.min(ENOUGH) {
            // That of what callers have been sent by now, or else new space.
            buffer.reserve(AT_ONCE);
        }
        program.try_read_buf(&mut (&mut *buffer).limit(room))?;
        Ok(buffer.split().freeze())
    })
}

/// Number of octets that the stream takes now, which is not 0.
async fn admitted(to: &mut SendStream<Bytes>) -> Result<usize, Broken> {
    to.reserve_capacity(AT_ONCE);
    match to.capacity() {
        0 => match poll_fn(|cx| to.poll_capacity(cx)).await {
            Some(Ok(octets)) => Ok(octets),
            _ => Err(Broken::Caller),
        },
        octets => Ok(octets),
    }
}

/// Waits until the caller resets the stream, or Envoy's connection ends.
async fn reset(to: &mut SendStream<Bytes>) {
    let _ = poll_fn(|cx| to.poll_reset(cx)).await;
}

async fn is_reset(mut to: SendStream<Bytes>) {
    reset(&mut to).await;
}

/// From the caller to the program.
async fn down(program: &TcpStream, mut from: RecvStream) -> Result<(), Broken> {
    while let Some(octets) = from.data().await {
        let octets = octets.map_err(|_| Broken::Caller)?;
        let count = octets.len();
        write(program, octets).await.map_err(|_| Broken::Program)?;
        // Fails for a stream that has ended.
        let _ = from.flow_control().release_capacity(count);
    }
    // Fails for a program that has reset, which the other half notices.
    let _ = SockRef::from(program).shutdown(Shutdown::Write);
    Ok(())
}

async fn write(program: &TcpStream, mut octets: Bytes) -> io::Result<()> {
    while octets.has_remaining() {
        match program.try_write(&octets) {
            Ok(count) => octets.advance(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => program.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
