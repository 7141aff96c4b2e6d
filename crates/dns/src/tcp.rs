//! DNS over TCP: a bounded number of connections, each answered in order.
//!
//! Every newcomer is served. Unbound and NSD shorten all clients' timeouts when many are connected, and refuse
//! newcomers when all slots are taken; both penalise well-behaved clients. Here the connection whose last use is the
//! oldest is closed for a newcomer. That is one that is silent, sends half a question, or does not read: a client that
//! asks and reads renews its use with each answer. All clients are on this machine, so there is no client address by
//! which to limit a share.

use std::{
    collections::HashMap,
    io, net,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, Id, JoinError, JoinSet, yield_now},
    time::{sleep, timeout},
};

use crate::{
    CurrentZone, Rcode, Stats, StatsSnapshot,
    fallback::{self, Transport},
};

/// Maximum number of connections.
pub(crate) const CONNECTIONS: usize = 128;
/// Time that a connection may take to send a question or to take its answer, while there is room. RFC 7766 section
/// 6.2.3 asks for the order of a few seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failed accept, for example when descriptors run out: the listener stays ready and the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Octets of buffer that are kept for the next question of a connection.
const USUAL: usize = 512;

/// Accepts and answers connections forever.
///
/// # Errors
/// When the listener cannot be used.
///
/// # Panics
/// When a connection's task panicked, with its panic.
pub(crate) async fn run(listener: net::TcpListener, zones: CurrentZone, stats: Arc<Stats>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut open = Open::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    stats.add(&StatsSnapshot { tcp_connections: 1, ..Default::default() });
                    open.add(stream, &zones, &stats);
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a DNS connection failed");
                    open.end_one();
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = open.tasks.join_next_with_id() => open.forget(ended),
        }
    }
}

/// The open connections.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    connections: HashMap<Id, Connection>,
    turns: Arc<AtomicU64>,
}

struct Connection {
    /// The turn at which it was accepted or last answered.
    useful: Arc<AtomicU64>,
    ends: AbortHandle,
}

impl Open {
    fn add(&mut self, stream: TcpStream, zones: &CurrentZone, stats: &Arc<Stats>) {
        if self.connections.len() >= CONNECTIONS {
            self.end_one();
        }
        let (zones, stats, turns) = (zones.clone(), Arc::clone(stats), Arc::clone(&self.turns));
        let useful = Arc::new(AtomicU64::new(turns.fetch_add(1, Ordering::Relaxed)));
        let answered = Arc::clone(&useful);
        #[expect(
            clippy::disallowed_methods,
            reason = "`forget` is told of its end, and its panic is that of the server"
        )]
        let ends = self.tasks.spawn(async move {
            let of_use = || answered.store(turns.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
            let outcome = converse(stream, &zones, &stats, of_use).await;
            tracing::trace!(?outcome, "DNS connection ended");
        });
        self.connections.insert(ends.id(), Connection { useful, ends });
    }

    /// Ends the connection whose last use is the oldest.
    fn end_one(&mut self) {
        let oldest = self.connections.iter().min_by_key(|(_, connection)| connection.useful.load(Ordering::Relaxed));
        if let Some(connection) = oldest.map(|(id, _)| *id).and_then(|id| self.connections.remove(&id)) {
            connection.ends.abort();
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        match ended {
            Ok((id, ())) => drop(self.connections.remove(&id)),
            Err(error) => {
                self.connections.remove(&error.id());
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

/// Answers one question after the other until the client closes, is too slow, or sends a message that gets no answer.
async fn converse(mut stream: TcpStream, zones: &CurrentZone, stats: &Stats, of_use: impl Fn()) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = Vec::new();
    while timeout(PATIENCE, receive(&mut stream, &mut message)).await?? {
        let mut counted = StatsSnapshot { queries: 1, ..Default::default() };
        let answer = zones
            .patiently(
                |zone| fallback::answer(zone, &message, Transport::Tcp),
                |answer| !matches!(answer, Some((_, Rcode::ServFail))),
            )
            .await;
        match &answer {
            Some((_, rcode)) => counted.count_answer(*rcode, false),
            None => counted.dropped = 1,
        }
        stats.add(&counted);
        let Some((reply, _)) = answer else { return Ok(()) };
        timeout(PATIENCE, stream.write_all(&framed(&reply))).await??;
        of_use();
        message.truncate(USUAL);
        message.shrink_to(USUAL);
        // Connections take turns, one question each, however many questions a client has sent.
        yield_now().await;
    }
    Ok(())
}

/// Reads one message with its length before it (RFC 1035 section 4.2.2). Returns false when the client has closed.
/// Memory is allocated for the octets that arrive, not for the announced length.
async fn receive(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<bool> {
    let length = match stream.read_u16().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        length => usize::from(length?),
    };
    message.clear();
    let read = stream.take(length as u64).read_to_end(message).await?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(true) }
}

/// Length and message in one buffer, so that they leave in one segment (RFC 7766 section 8).
fn framed(reply: &[u8]) -> Vec<u8> {
    let length = reply.len() as u16;
    [&length.to_be_bytes()[..], reply].concat()
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
