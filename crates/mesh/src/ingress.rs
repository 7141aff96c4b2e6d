//! Ingress: how connections from outside of the mesh reach an exposed port of a VM.

use serde::{Deserialize, Serialize};

/// Connections from outside of the VM to a port pass through the VM's Envoy, in plaintext, as the operator asked for at
/// the port. Without it they reach the program directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ingress {
    /// What becomes of connections that Envoy cannot accept.
    pub fallback: Fallback,
    /// Whether the program sees the caller's address, and not that of its own VM. It needs the capability NET_ADMIN in
    /// Envoy (`envoy.filters.listener.original_src`).
    pub original_src: bool,
}

/// What becomes of connections to a captured port while there is no Envoy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// They reach the program directly.
    #[default]
    Open,
    /// They are refused, and so is every way to the port that does not lead through Envoy.
    Closed,
}

impl Fallback {
    /// Parses a fallback as written.
    pub fn parse(written: &str) -> Option<Self> {
        [Self::Open, Self::Closed].into_iter().find(|known| known.as_str() == written)
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Port of each VM's Envoy at which captured connections arrive. Istio's sidecars use the same.
pub const INGRESS_PORT: u16 = 15006;

/// Mark of the connections by which Envoy reaches a program with a caller's address (`SO_MARK`). The kernel leads the
/// program's packets of such a connection back to Envoy. Other programs that use marks take small numbers and single
/// bits.
pub const ORIGINAL_SRC_MARK: u32 = 0xb005_1357;

/// Ports that are never captured: those of ssh, DNS, monit, NATS, the BOSH agent and bosh-dns, without which a director
/// loses the VM, and those of the mesh itself.
pub const NEVER_CAPTURED: [u16; 13] = [22, 53, 2822, 4222, 6868, 8853, 15001, 15006, 15008, 15020, 15053, 53080, 53088];

impl Ingress {
    /// Of two services with one port, both are heeded: closed if one says so, and with the caller's address.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { fallback: self.fallback.max(other.fallback), original_src: self.original_src || other.original_src }
    }
}
