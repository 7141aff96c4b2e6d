//! boshy's own route for the range of virtual IPs: `ip route add RANGE dev lo src VM_ADDRESS proto 176`.
//!
//! The kernel looks up a route before the rules see a connection. Without this route, a VM without a default route
//! reports "network is unreachable". With only the default route, the connection keeps the small segments of that
//! route's device although it never leaves the VM. The route goes through loopback and has the VM's own address as its
//! source, so Envoy sees the same peer address as without it.
//!
//! The protocol number marks boshy's routes. Only routes with that number are changed or removed, and all of them are
//! boshy's. So a range that was configured earlier leaves no route behind.

use std::{io, net::Ipv4Addr};

use boshy_netlink::{NetlinkError, Socket};
use ipnet::Ipv4Net;
use nix::{errno::Errno, net::if_::if_nametoindex, sys::socket::SockProtocol};

use crate::{
    error::{NEEDS_NET_ADMIN, Operation},
    netlink::route::{Entry, delete, entries_question, entry, insert},
};

/// How often a read is repeated when a change interrupted it.
pub(crate) const READINGS: usize = 20;

/// The route could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The process lacks the capability in the network namespace's user namespace.
    #[error("cannot {operation} the route for virtual IPs: this needs CAP_NET_ADMIN")]
    NeedsNetAdmin {
        /// The operation that failed.
        operation: Operation,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// Another program's route is at the same place. It is left alone.
    #[error("cannot apply the route for virtual IPs: {0} already has a route of another origin")]
    Taken(Ipv4Net),
    /// Another program's route is in the table of the way back to Envoy. It is left alone.
    #[error("cannot apply the way back to Envoy: table {0} already has a route of another origin")]
    TableTaken(u8),
    /// The source address does not belong to this VM.
    #[error("cannot apply the route for virtual IPs: {0} is no address of this VM")]
    ForeignSource(Ipv4Addr),
    /// The kernel refused the operation.
    #[error("cannot {operation} the route for virtual IPs")]
    Refused {
        /// The operation that failed.
        operation: Operation,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// Changes of routes cannot be observed.
    #[error("cannot follow the changes of routes")]
    Unwatched(#[source] io::Error),
    /// The kernel accepted the route, but it differs when read back.
    #[error("read back, the route for virtual IPs is not as written: {0:?}")]
    NotAsWritten(Vec<(Ipv4Net, Option<Ipv4Addr>)>),
}

impl RouteError {
    /// What an operator can do about it, in full sentences.
    pub fn remedy(&self) -> String {
        match self {
            Self::NeedsNetAdmin { .. } => NEEDS_NET_ADMIN.to_owned(),
            Self::Taken(range) => {
                format!("Remove the route to {range} (`ip route show {range}`), or choose another `vip_range`.")
            }
            Self::TableTaken(table) => {
                format!("Remove the route (`ip route show table {table}`), or expose no port with `original_src`.")
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

/// The desired route.
#[derive(Debug)]
pub struct VipRoute {
    socket: Socket,
    desired: Entry,
}

impl VipRoute {
    /// A route that is not written yet. `source` is the VM's own address, as BOSH gives it.
    ///
    /// # Errors
    /// When no netlink socket can be opened.
    pub fn new(range: Ipv4Net, source: Ipv4Addr) -> Result<Self, RouteError> {
        let failed = |errno: Errno| refused(Operation::Open, errno);
        let socket = Socket::open(SockProtocol::NetlinkRoute, 0).map_err(failed)?;
        let loopback = if_nametoindex("lo").map_err(failed)?;
        Ok(Self { socket, desired: Entry::ours(range.trunc(), loopback, Some(source)) })
    }

    /// Ensures that this route, and no other route of boshy, exists. Returns whether it had to change anything. A call
    /// without a change is cheap, so it may be made every second.
    ///
    /// # Errors
    /// When another program's route is at the same place, or the kernel refuses.
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

    /// Removes all routes of boshy. Succeeds when there are none.
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

    /// Writes the desired entry. It replaces an earlier one of boshy at the same place, with no gap in between.
    fn insert(&mut self) -> Result<(), RouteError> {
        match self.socket.ask(|sequence| insert(&self.desired, sequence), |_| {}) {
            // The kernel reports a preferred source that is not local in this way.
            Err(NetlinkError { errno: Errno::EINVAL, .. }) if self.desired.source.is_some() => {
                Err(RouteError::ForeignSource(self.desired.source.unwrap_or(Ipv4Addr::UNSPECIFIED)))
            }
            other => other.map_err(|error| refused(Operation::Apply, error.errno)),
        }
    }

    fn delete(&mut self, old: &Entry, operation: Operation) -> Result<(), RouteError> {
        match self.socket.ask(|sequence| delete(old, sequence), |_| {}) {
            // It has been removed in the meantime.
            Ok(()) | Err(NetlinkError { errno: Errno::ESRCH, .. }) => Ok(()),
            Err(error) => Err(refused(operation, error.errno)),
        }
    }

    fn ours(&mut self, operation: Operation) -> Result<Vec<Entry>, RouteError> {
        Ok(self.read(operation)?.into_iter().filter(Entry::is_ours).collect())
    }

    fn read(&mut self, operation: Operation) -> Result<Vec<Entry>, RouteError> {
        let mut last = Errno::EINTR;
        for _ in 0..READINGS {
            let mut all = Vec::new();
            match self.socket.ask(entries_question, |message| all.extend(entry(message))) {
                Ok(()) => return Ok(all),
                Err(NetlinkError { errno: Errno::EINTR, .. }) => last = Errno::EINTR,
                Err(error) => return Err(refused(operation, error.errno)),
            }
        }
        Err(refused(operation, last))
    }
}

pub(crate) fn refused(operation: Operation, errno: Errno) -> RouteError {
    let source = io::Error::from(errno);
    match errno {
        Errno::EPERM => RouteError::NeedsNetAdmin { operation, source },
        _ => RouteError::Refused { operation, source },
    }
}

fn not_as_written(found: &[Entry]) -> RouteError {
    RouteError::NotAsWritten(found.iter().map(|entry| (entry.network, entry.source)).collect())
}
