//! DNS over TCP: a bounded number of connections, each answered in order.

use std::{io, net, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Stats, StatsSnapshot, Zones,
    fallback::{self, Transport},
};

/// Connections at a time; further ones wait in the kernel's queue.
pub(crate) const CONNECTIONS: usize = 64;
/// How long a connection may take for a question, or for taking its answer. RFC 7766 section 6.2.3 wants it in the order of a
/// few seconds; at the limit of connections it is also the longest that others wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, as happens when descriptors run out: the listener stays ready and would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts and answers for ever.
///
/// # Errors
/// When the listener cannot be used.
pub(crate) async fn run(listener: net::TcpListener, zones: Zones, stats: Arc<Stats>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&free).acquire_owned().await.map_err(io::Error::other)?;
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (zones, stats) = (Arc::clone(&zones), Arc::clone(&stats));
                stats.add(&StatsSnapshot { tcp_connections: 1, ..Default::default() });
                connections.spawn(async move {
                    let outcome = converse(stream, &zones, &stats).await;
                    tracing::trace!(?outcome, "DNS connection ended");
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a DNS connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers one question after the other until the client closes, is too slow, or sends what is not answered.
async fn converse(mut stream: TcpStream, zones: &Zones, stats: &Stats) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = Vec::new();
    while timeout(PATIENCE, receive(&mut stream, &mut message)).await?? {
        let mut counted = StatsSnapshot { queries: 1, ..Default::default() };
        let answer = fallback::answer(&zones.load(), &message, Transport::Tcp);
        match &answer {
            Some((_, rcode)) => counted.count_answer(*rcode, false),
            None => counted.dropped = 1,
        }
        stats.add(&counted);
        let Some((reply, _)) = answer else { return Ok(()) };
        timeout(PATIENCE, stream.write_all(&framed(&reply))).await??;
    }
    Ok(())
}

/// Reads one message with its length before it (RFC 1035 section 4.2.2), or tells that the client has closed.
async fn receive(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<bool> {
    let length = match stream.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        length => length?,
    };
    message.resize(usize::from(length), 0);
    stream.read_exact(message).await?;
    Ok(true)
}

/// Length and message in one piece, so that they leave in one segment (RFC 7766 section 8).
fn framed(reply: &[u8]) -> Vec<u8> {
    let length = reply.len() as u16;
    [&length.to_be_bytes()[..], reply].concat()
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
