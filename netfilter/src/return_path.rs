//! The way back to Envoy of what a program answers to a caller whose address it sees.
//!
//! Envoy's connection to the program has the caller's address as its source. So the program answers to an address
//! elsewhere, and the packet would leave the VM. [`Ingress`](crate::Ingress) marks such packets. Here are the policy
//! rule that gives packets of this mark a table of routes of their own, and the one route in it, by which every address
//! is local. Both have boshy's protocol number.

use boshy_netlink::{NetlinkError, Socket};
use nix::{errno::Errno, net::if_::if_nametoindex, sys::socket::SockProtocol};

use crate::{
    error::Operation,
    netlink::policy::{Part, Policy},
    route::{READINGS, RouteError, refused},
};

/// The table of routes, and the priority of its rule.
const TABLE: u8 = 176;
const PARTS: [Part; 2] = [Part::Route, Part::Rule];

/// See the module's documentation.
#[derive(Debug)]
pub struct ReturnPath {
    socket: Socket,
    policy: Policy,
}

impl ReturnPath {
    /// A way back for packets of this mark, which is not written yet.
    ///
    /// # Errors
    /// When no netlink socket can be opened.
    pub fn new(mark: u32) -> Result<Self, RouteError> {
        let failed = |errno: Errno| refused(Operation::Open, errno);
        let socket = Socket::open(SockProtocol::NetlinkRoute, 0).map_err(failed)?;
        let loopback = if_nametoindex("lo").map_err(failed)?;
        Ok(Self { socket, policy: Policy { mark, table: TABLE, loopback } })
    }

    /// Ensures that rule and route exist. Returns whether it had to write any. The route is there before its rule.
    ///
    /// # Errors
    /// When the kernel refuses, or another program has a route in their table.
    pub fn ensure(&mut self) -> Result<bool, RouteError> {
        let mut written = false;
        for part in PARTS {
            if !self.exists(part, Operation::Apply)? {
                let policy = self.policy;
                let added = self.socket.ask(|sequence| policy.add(part, sequence), |_| {});
                added.map_err(|NetlinkError { errno, .. }| match errno {
                    Errno::EEXIST => RouteError::TableTaken(TABLE),
                    errno => refused(Operation::Apply, errno),
                })?;
                written = true;
            }
        }
        Ok(written)
    }

    /// Removes rule and route. Succeeds when there are none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self) -> Result<(), RouteError> {
        for part in PARTS.into_iter().rev() {
            if self.exists(part, Operation::Remove)? {
                let policy = self.policy;
                match self.socket.ask(|sequence| policy.delete(part, sequence), |_| {}) {
                    // It has been removed in the meantime.
                    Ok(()) | Err(NetlinkError { errno: Errno::ESRCH | Errno::ENOENT, .. }) => {}
                    Err(error) => return Err(refused(Operation::Remove, error.errno)),
                }
            }
        }
        Ok(())
    }

    fn exists(&mut self, part: Part, operation: Operation) -> Result<bool, RouteError> {
        let policy = self.policy;
        for _ in 0..READINGS {
            let mut found = false;
            match self
                .socket
                .ask(|sequence| Policy::question(part, sequence), |message| found |= policy.is(part, message))
            {
                Ok(()) => return Ok(found),
                Err(NetlinkError { errno: Errno::EINTR, .. }) => {}
                Err(error) => return Err(refused(operation, error.errno)),
            }
        }
        Err(refused(operation, Errno::EINTR))
    }
}
