//! Ends Envoy's connections to instances that do not answer any more, while octets for them are on their way.
//!
//! The kernel ends a connection without traffic by keepalive. With octets on their way it retransmits for a quarter of an hour, and where the
//! peer's window is zero it probes for half an hour. TCP_USER_TIMEOUT is no remedy: it also ends a connection whose peer answers
//! each probe and takes nothing, because its program does not read. The two differ in what the kernel counts, which sock_diag shows:
//! an answer to a window probe sets the count of unanswered probes to zero.
//!
//! Only what bears the mark is touched: IP_FREEBIND on, IP_MULTICAST_ALL and IP_MULTICAST_LOOP off, which mean nothing on a TCP socket that
//! connects, need no privilege, and are shown by the kernel since Linux 5.10. Envoy's bootstrap sets them.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use nix::{errno::Errno, sys::socket::SockProtocol};

use crate::{
    error::NEEDS_NET_ADMIN,
    netlink::{
        diag::{Connection, FAMILIES, Identity, Timer, connection, connection_question, connections_question, end},
        socket::{Refusal, Socket},
        wire::messages,
    },
};

/// Transmissions in a row without an answer, however much time that took: as many as keepalive has.
const ASKED: u8 = 3;

/// Connections cannot be looked at or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadPeersError {
    /// The process lacks the capability in the network namespace's user namespace.
    #[error("cannot end connections: this needs CAP_NET_ADMIN")]
    NeedsNetAdmin(#[source] io::Error),
    /// The kernel cannot end connections of other processes.
    #[error("the kernel ends no connection for another process")]
    NoDestroy(#[source] io::Error),
    /// The kernel does not show by which options Envoy's connections are known.
    #[error("the kernel does not show the options of connections")]
    NoOptions,
    /// The kernel refused.
    #[error("cannot look at the connections of this VM")]
    Refused(#[source] io::Error),
}

impl DeadPeersError {
    /// What an operator can do about it, as a sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NeedsNetAdmin(_) => NEEDS_NET_ADMIN,
            Self::NoDestroy(_) => "Run a kernel with CONFIG_INET_DIAG_DESTROY, as those of stemcells are.",
            Self::NoOptions => "Run Linux 5.10 or later.",
            Self::Refused(_) => "Run a kernel with CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG.",
        }
    }
}

/// What was ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Connections.
    pub connections: usize,
    /// Their other ends.
    pub peers: BTreeSet<SocketAddr>,
}

/// A view of the connections in the network namespace of the calling thread.
#[derive(Debug)]
pub struct DeadPeers {
    socket: Socket,
}

impl DeadPeers {
    /// Opens a socket, and asks the kernel whether it could end a connection.
    ///
    /// # Errors
    /// When it could not.
    pub fn open() -> Result<Self, DeadPeersError> {
        let socket = Socket::open(SockProtocol::NetlinkSockDiag, 0).map_err(refused)?;
        let mut peers = Self { socket };
        peers.end_one(&Identity::NOBODY)?;
        Ok(peers)
    }

    /// Ends those connections of Envoy whose peer has answered nothing for this time, although it was asked.
    ///
    /// All connections are read in brief, 120 octets each; what is measured is asked of those alone that are suspect.
    ///
    /// # Errors
    /// When they cannot be read or ended.
    pub fn end(&mut self, timeout: Duration) -> Result<Ended, DeadPeersError> {
        let mut ended = Ended::default();
        for suspect in self.suspects()? {
            if self.look(&suspect)?.is_some_and(|connection| is_dead(&connection, timeout)) && self.end_one(&suspect)? {
                ended.connections += 1;
                ended.peers.insert(suspect.peer());
            }
        }
        Ok(ended)
    }

    fn suspects(&mut self) -> Result<Vec<Identity>, DeadPeersError> {
        let (mut suspects, mut hidden) = (Vec::new(), false);
        for family in FAMILIES {
            let sequence = self.socket.next_sequence();
            let question = connections_question(family, sequence);
            let each = |connection: Connection| {
                hidden |= connection.marked.is_none();
                if is_suspect(&connection) {
                    suspects.push(connection.identity);
                }
            };
            if !self.ask(question.bytes(), sequence, each)? {
                return Err(refused(Errno::ENOENT));
            }
        }
        if hidden { Err(DeadPeersError::NoOptions) } else { Ok(suspects) }
    }

    /// What is known of one; `None` when it is gone.
    fn look(&mut self, identity: &Identity) -> Result<Option<Connection>, DeadPeersError> {
        let sequence = self.socket.next_sequence();
        let mut found = None;
        let question = connection_question(identity, sequence);
        self.ask(question.bytes(), sequence, |connection| found = Some(connection))?;
        Ok(found)
    }

    /// Whether it was there to be ended.
    fn end_one(&mut self, identity: &Identity) -> Result<bool, DeadPeersError> {
        let sequence = self.socket.next_sequence();
        self.ask(end(identity, sequence).bytes(), sequence, |_| {})
    }

    /// Whether what was asked about is there.
    fn ask(
        &mut self,
        question: &[u8],
        sequence: u32,
        mut each: impl FnMut(Connection),
    ) -> Result<bool, DeadPeersError> {
        let asked =
            self.socket.request(question, sequence, |message| connection(message).into_iter().for_each(&mut each));
        match asked {
            Ok(()) => Ok(true),
            // It ended meanwhile, or its place is another's.
            Err(Refusal { errno: Errno::ENOENT | Errno::ESTALE, .. }) => Ok(false),
            Err(refusal) => Err(refused(refusal.errno)),
        }
    }
}

fn refused(errno: Errno) -> DeadPeersError {
    let source = io::Error::from(errno);
    match errno {
        Errno::EPERM | Errno::EACCES => DeadPeersError::NeedsNetAdmin(source),
        Errno::EOPNOTSUPP => DeadPeersError::NoDestroy(source),
        _ => DeadPeersError::Refused(source),
    }
}

/// Whether what the kernel tells in brief gives a reason to look closer.
fn is_suspect(connection: &Connection) -> bool {
    connection.marked == Some(true) && connection.timer != Timer::Other && connection.unanswered >= ASKED
}

/// Whether the peer was asked several times in this time, and answered nothing.
fn is_dead(connection: &Connection, timeout: Duration) -> bool {
    let Some(info) = connection.info.filter(|info| info.silence >= timeout) else { return false };
    if !is_suspect(connection) {
        return false;
    }
    match connection.timer {
        Timer::WindowProbe => true,
        // A window that was shrunk to zero: the retransmissions are probes then, and are not counted. The kernel ends these by what it has heard.
        Timer::Retransmission if info.window == 0 => false,
        // Counted is what did not advance the connection, and an answer need not: a peer without memory acknowledges again what it has.
        // Time doubles between retransmissions, so the last three were sent within three quarters of the present one and what
        // has passed of it.
        Timer::Retransmission => {
            let timeout = info.retransmission_timeout;
            info.silence >= timeout.saturating_sub(connection.expires) + timeout * 3 / 4
        }
        Timer::Other => false,
    }
}

/// How many connections of a datagram of the kernel's would be ended, for who tries any octets.
pub fn dead_in(datagram: &[u8], timeout: Duration) -> usize {
    messages(datagram).filter_map(|message| connection(&message)).filter(|found| is_dead(found, timeout)).count()
}

#[cfg(test)]
#[path = "dead_peers_tests.rs"]
mod tests;
