//! An own route for the range of virtual IPs: `ip route add RANGE dev lo src VM_ADDRESS proto 176`.
//!
//! The kernel looks for a route before the rules see a connection. Without one, a VM that has no default route answers "network is
//! unreachable"; with only the default route, the connection keeps the small segments of that route's device although it never
//! leaves the VM. The route goes through loopback and names the VM's own address as source, so Envoy sees the peer it would
//! see anyway.
//!
//! The protocol number marks what is ours. Only routes that bear it are ever changed or removed, and all of them are
//! ours: a range that was configured earlier leaves no route behind.

use std::{io, net::Ipv4Addr};

use ipnet::Ipv4Net;
use nix::{errno::Errno, net::if_::if_nametoindex, sys::socket::SockProtocol};

use crate::{
    error::{NEEDS_NET_ADMIN, Operation},
    netlink::{
        route::{Entry, delete, entries_question, entry, insert},
        socket::{Refusal, Socket},
    },
};

/// How often a reading that was overtaken by a change is begun again.
const READINGS: usize = 20;

/// The route could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The process lacks the capability in the network namespace's user namespace.
    #[error("cannot {operation} the route for virtual IPs: this needs CAP_NET_ADMIN")]
    NeedsNetAdmin {
        /// What was being done.
        operation: Operation,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Somebody else's route is in the place of ours; it is left alone.
    #[error("cannot apply the route for virtual IPs: {0} already has a route of another origin")]
    Taken(Ipv4Net),
    /// The source address is not one of this VM's.
    #[error("cannot apply the route for virtual IPs: {0} is no address of this VM")]
    ForeignSource(Ipv4Addr),
    /// The kernel refused.
    #[error("cannot {operation} the route for virtual IPs")]
    Refused {
        /// What was being done.
        operation: Operation,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// Changes of routes cannot be followed.
    #[error("cannot follow the changes of routes")]
    Unwatched(#[source] io::Error),
    /// The route was accepted, and is another when read back.
    #[error("read back, the route for virtual IPs is not as written: {0:?}")]
    NotAsWritten(Vec<(Ipv4Net, Option<Ipv4Addr>)>),
}

impl RouteError {
    /// What an operator can do about it, as a sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::NeedsNetAdmin { .. } => NEEDS_NET_ADMIN.to_owned(),
            Self::Taken(range) => {
                format!("Remove the route to {range} (`ip route show {range}`), or choose another `vip_range`.")
            }
            Self::ForeignSource(address) => {
                format!("Set `node.ip` to an address of this VM (`ip -4 address`); {address} is none, or not yet.")
            }
            Self::Refused { .. } | Self::Unwatched(_) => "See `ip route` and the kernel's log (`dmesg`).".to_owned(),
            Self::NotAsWritten(_) => {
                "Find what else changes routes on this VM: `ip monitor route` shows it.".to_owned()
            }
        }
    }
}

/// The route that is desired.
#[derive(Debug)]
pub struct VipRoute {
    socket: Socket,
    desired: Entry,
}

impl VipRoute {
    /// Nothing is written yet. `source` is the VM's own address, as BOSH gives it.
    ///
    /// # Errors
    /// When the kernel cannot be spoken to.
    pub fn new(range: Ipv4Net, source: Ipv4Addr) -> Result<Self, RouteError> {
        let refused = |errno: Errno| refusal(Operation::Open, errno);
        let socket = Socket::open(SockProtocol::NetlinkRoute, 0).map_err(refused)?;
        let loopback = if_nametoindex("lo").map_err(refused)?;
        Ok(Self { socket, desired: Entry::ours(range.trunc(), loopback, Some(source)) })
    }

    /// Brings it about that this route, and no other of ours, is there; answers whether anything had to be changed. Cheap when not, so
    /// it may be called each second.
    ///
    /// # Errors
    /// When the place is taken by a route of others, or the kernel refuses.
    pub fn ensure(&mut self) -> Result<bool, RouteError> {
        let all = self.read(Operation::Apply)?;
        if all.iter().filter(|entry| entry.is_ours()).eq([&self.desired]) {
            return Ok(false);
        }
        if all.iter().any(|entry| entry.is_at(&self.desired) && !entry.is_ours()) {
            return Err(RouteError::Taken(self.desired.network));
        }
        if !all.contains(&self.desired) {
            self.insert()?;
        }
        for old in self.ours(Operation::Apply)? {
            if old != self.desired {
                self.delete(&old, Operation::Apply)?;
            }
        }
        let ours = self.ours(Operation::Apply)?;
        if ours == [self.desired.clone()] { Ok(true) } else { Err(not_as_written(&ours)) }
    }

    /// Removes all routes of ours; succeeds when there are none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self) -> Result<(), RouteError> {
        for old in self.ours(Operation::Remove)? {
            self.delete(&old, Operation::Remove)?;
        }
        let left = self.ours(Operation::Remove)?;
        if left.is_empty() { Ok(()) } else { Err(not_as_written(&left)) }
    }

    /// Writes the desired entry; one of ours in its place is replaced, so there is no moment without a route.
    fn insert(&mut self) -> Result<(), RouteError> {
        let sequence = self.socket.next_sequence();
        let message = insert(&self.desired, sequence);
        match self.socket.request(message.bytes(), sequence, |_| {}) {
            // This is how the kernel says that the preferred source is not local.
            Err(Refusal { errno: Errno::EINVAL, .. }) if self.desired.source.is_some() => {
                Err(RouteError::ForeignSource(self.desired.source.unwrap_or(Ipv4Addr::UNSPECIFIED)))
            }
            other => other.map_err(|refused| refusal(Operation::Apply, refused.errno)),
        }
    }

    fn delete(&mut self, old: &Entry, operation: Operation) -> Result<(), RouteError> {
        let sequence = self.socket.next_sequence();
        match self.socket.request(delete(old, sequence).bytes(), sequence, |_| {}) {
            // It went away meanwhile.
            Ok(()) | Err(Refusal { errno: Errno::ESRCH, .. }) => Ok(()),
            Err(refused) => Err(refusal(operation, refused.errno)),
        }
    }

    fn ours(&mut self, operation: Operation) -> Result<Vec<Entry>, RouteError> {
        Ok(self.read(operation)?.into_iter().filter(Entry::is_ours).collect())
    }

    fn read(&mut self, operation: Operation) -> Result<Vec<Entry>, RouteError> {
        let mut last = Errno::EINTR;
        for _ in 0..READINGS {
            let mut all = Vec::new();
            let sequence = self.socket.next_sequence();
            let question = entries_question(sequence);
            match self.socket.request(question.bytes(), sequence, |message| all.extend(entry(message))) {
                Ok(()) => return Ok(all),
                Err(Refusal { errno: Errno::EINTR, .. }) => last = Errno::EINTR,
                Err(refused) => return Err(refusal(operation, refused.errno)),
            }
        }
        Err(refusal(operation, last))
    }
}

fn refusal(operation: Operation, errno: Errno) -> RouteError {
    let source = io::Error::from(errno);
    match errno {
        Errno::EPERM => RouteError::NeedsNetAdmin { operation, source },
        _ => RouteError::Refused { operation, source },
    }
}

fn not_as_written(found: &[Entry]) -> RouteError {
    RouteError::NotAsWritten(found.iter().map(|entry| (entry.network, entry.source)).collect())
}
