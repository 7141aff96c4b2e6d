//! What can go wrong when rules or the route are written, read or removed.

use std::{fmt, io};

use crate::difference::Drift;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Beginning to speak to the kernel.
    Open,
    /// Writing the desired state.
    Apply,
    /// Reading the present state.
    Read,
    /// Removing what is ours.
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
    /// What was being done.
    pub operation: Operation,
    /// Why not.
    #[source]
    pub cause: Cause,
}

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The process lacks the capability in the network namespace's user namespace.
    #[error("this needs CAP_NET_ADMIN")]
    NeedsNetAdmin(#[source] io::Error),
    /// The table belongs to another open socket; it can be changed once the process that holds it has ended.
    #[error("the table belongs to another running process (netlink port {port}, usually its process id)")]
    OwnedByAnother {
        /// The netlink port of the owner.
        port: u32,
    },
    /// The kernel refused one step of the transaction, and with it the whole: the old rules are still in place.
    #[error("the kernel refused {step}")]
    Refused {
        /// Which part.
        step: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// Others change rules faster than they can be read.
    #[error("the rules changed each time while they were read")]
    Unsettled,
    /// The rules were accepted, and are others when read back.
    #[error("read back, the rules are not as written: {0}")]
    NotAsWritten(Drift),
}

impl Error {
    /// What an operator can do about it, as a sentence.
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
