//! Ends Envoy's connections to instances that no longer answer while data to them is unacknowledged.
//!
//! Keepalive ends a connection without traffic. With unacknowledged data the kernel retransmits for a quarter of an
//! hour; with a zero window it probes for half an hour. TCP_USER_TIMEOUT cannot be used: it also ends a connection
//! whose peer answers every probe but does not read. The kernel's count of unanswered probes tells the two apart,
//! because an answer to a window probe resets it. sock_diag shows that count.
//!
//! Only marked sockets are ended. The mark is IP_FREEBIND on, IP_MULTICAST_ALL and IP_MULTICAST_LOOP off: these options
//! have no effect on a TCP socket that connects and need no privilege, and the kernel shows them since Linux 5.10.
//! Envoy's bootstrap sets them.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use boshy_netlink::{NetlinkError, Socket, Writer, messages};
use nix::{errno::Errno, sys::socket::SockProtocol};

use crate::{
    error::NEEDS_NET_ADMIN,
    netlink::diag::{
        Connection, FAMILIES, Identity, Timer, connection, connection_question, connections_question, end,
    },
};

/// Consecutive unanswered transmissions before a connection may be ended; keepalive uses the same number.
const ASKED: u8 = 3;

/// Why connections cannot be listed or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadPeersError {
    /// The process lacks the capability in the network namespace's user namespace.
    #[error("cannot end connections: this needs CAP_NET_ADMIN")]
    NeedsNetAdmin(#[source] io::Error),
    /// The kernel cannot end connections of other processes.
    #[error("the kernel ends no connection for another process")]
    NoDestroy(#[source] io::Error),
    /// The kernel does not show the socket options by which Envoy's connections are recognized.
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

/// The connections that were ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Number of connections.
    pub connections: usize,
    /// Their remote addresses.
    pub peers: BTreeSet<SocketAddr>,
}

/// A view of the connections in the network namespace of the calling thread.
#[derive(Debug)]
pub struct DeadPeers {
    socket: Socket,
}

impl DeadPeers {
    /// Opens a socket and checks that the kernel allows it to end connections.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn open() -> Result<Self, DeadPeersError> {
        let socket = Socket::open(SockProtocol::NetlinkSockDiag, 0).map_err(refused)?;
        let mut peers = Self { socket };
        peers.end_one(&Identity::NOBODY)?;
        Ok(peers)
    }

    /// Ends those connections of Envoy whose peer has left all transmissions unanswered for `timeout`.
    ///
    /// All connections are listed in a short form of 120 octets each. Measurements are requested for suspects only.
    ///
    /// # Errors
    /// When connections cannot be listed or ended.
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
            let each = |connection: Connection| {
                hidden |= connection.marked.is_none();
                if is_suspect(&connection) {
                    suspects.push(connection.identity);
                }
            };
            if !self.ask(|sequence| connections_question(family, sequence), each)? {
                return Err(refused(Errno::ENOENT));
            }
        }
        if hidden { Err(DeadPeersError::NoOptions) } else { Ok(suspects) }
    }

    /// One connection with its measurements; `None` when it no longer exists.
    fn look(&mut self, identity: &Identity) -> Result<Option<Connection>, DeadPeersError> {
        let mut found = None;
        self.ask(|sequence| connection_question(identity, sequence), |connection| found = Some(connection))?;
        Ok(found)
    }

    /// Whether the connection still existed and was ended.
    fn end_one(&mut self, identity: &Identity) -> Result<bool, DeadPeersError> {
        self.ask(|sequence| end(identity, sequence), |_| {})
    }

    /// Whether the socket that was asked about exists.
    fn ask(
        &mut self,
        question: impl FnOnce(u32) -> Writer,
        mut each: impl FnMut(Connection),
    ) -> Result<bool, DeadPeersError> {
        match self.socket.ask(question, |message| connection(message).into_iter().for_each(&mut each)) {
            Ok(()) => Ok(true),
            // The connection has ended, or another socket has its addresses by now.
            Err(NetlinkError { errno: Errno::ENOENT | Errno::ESTALE, .. }) => Ok(false),
            Err(error) => Err(refused(error.errno)),
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

/// Whether the short form justifies a request for measurements.
fn is_suspect(connection: &Connection) -> bool {
    connection.marked == Some(true) && connection.timer != Timer::Other && connection.unanswered >= ASKED
}

/// Whether the peer left several transmissions unanswered within `timeout`.
fn is_dead(connection: &Connection, timeout: Duration) -> bool {
    let Some(info) = connection.info.filter(|info| info.silence >= timeout) else { return false };
    if !is_suspect(connection) {
        return false;
    }
    match connection.timer {
        Timer::WindowProbe => true,
        // The peer shrank its window to zero: retransmissions are probes then and are not counted. The kernel ends such
        // a connection by itself.
        Timer::Retransmission if info.window == 0 => false,
        // The count includes retransmissions that were answered without progress: a peer without memory acknowledges
        // old data again. The time-out doubles with each retransmission, so the last three were sent within three
        // quarters of the current time-out plus the part of it that has passed.
        Timer::Retransmission => {
            let timeout = info.retransmission_timeout;
            info.silence >= timeout.saturating_sub(connection.expires) + timeout * 3 / 4
        }
        Timer::Other => false,
    }
}

/// Number of connections in a kernel datagram that would be ended. For fuzzing.
pub fn dead_in(datagram: &[u8], timeout: Duration) -> usize {
    messages(datagram).filter_map(|message| connection(&message)).filter(|found| is_dead(found, timeout)).count()
}

#[cfg(test)]
#[path = "dead_peers_tests.rs"]
mod tests;
