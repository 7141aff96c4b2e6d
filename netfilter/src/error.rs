//! Errors of writing, reading or removing the rules or the route.

use std::{fmt, io};

use crate::difference::Drift;

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening a socket to the kernel.
    Open,
    /// Writing the desired state.
    Apply,
    /// Reading the actual state.
    Read,
    /// Removing what boshy wrote.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "begin to use",
            Self::Apply => "apply",
            Self::Read => "read",
            Self::Remove => "remove",
        })
    }
}

/// The redirect rules could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the redirect rules")]
pub struct Error {
    /// The operation that failed.
    pub operation: Operation,
    /// Cause.
    #[source]
    pub cause: Cause,
}

/// Why the kernel did not carry out a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The process lacks the capability in the network namespace's user namespace.
    #[error("this needs CAP_NET_ADMIN")]
    NeedsNetAdmin(#[source] io::Error),
    /// The table is owned by another open socket. It can be changed once the process that owns it has ended.
    #[error("the table belongs to another running process (netlink port {port}, usually its process id)")]
    OwnedByAnother {
        /// Netlink port of the owner.
        port: u32,
    },
    /// The kernel refused one step of the transaction, and therefore all of it: the old rules are still in place.
    #[error("the kernel refused {step}")]
    Refused {
        /// The refused step.
        step: String,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// Other processes change rules faster than they can be read.
    #[error("the rules changed each time while they were read")]
    Unsettled,
    /// The kernel accepted the rules, but they differ when read back.
    #[error("read back, the rules are not as written: {0}")]
    NotAsWritten(Drift),
}

impl Error {
    /// What an operator can do about it, in full sentences.
    pub fn remedy(&self) -> String {
        match &self.cause {
            Cause::NeedsNetAdmin(_) => NEEDS_NET_ADMIN.to_owned(),
            Cause::OwnedByAnother { port } => {
                format!("End the other agent on this VM: the table `inet boshy` belongs to process {port}.")
            }
            Cause::Refused { .. } => {
                "Run a kernel with nf_tables and NAT (modules nf_tables, nft_chain_nat, nft_redir, nft_reject_inet), or \
                                     redirect by other means and set `netfilter.backend` to none."
                    .to_owned()
            }
            Cause::Unsettled | Cause::NotAsWritten(_) => {
                "Find what else changes rules on this VM: `nft monitor` shows it.".to_owned()
            }
        }
    }
}

pub(crate) const NEEDS_NET_ADMIN: &str = "Give the agent the capability NET_ADMIN (in bpm.yml: `capabilities: [NET_ADMIN]`), or set `netfilter.backend` to none.";
