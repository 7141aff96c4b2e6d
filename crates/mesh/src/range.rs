//! The range that virtual IPs come from.

use std::{fmt, net::Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The address at which bosh-dns listens on every VM.
const BOSH_DNS: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 2);
/// The address of every IaaS's metadata service.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Why a range cannot hold virtual IPs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The text is not `A.B.C.D/N`.
    #[error("{0:?} is no IPv4 range such as 169.254.255.0/24")]
    Syntax(String),
    /// The range overlaps addresses that have a meaning of their own.
    #[error("{range} overlaps {taken} ({what}); choose another range")]
    Overlap {
        /// The range asked for.
        range: Ipv4Net,
        /// The network it overlaps.
        taken: Ipv4Net,
        /// What that network is reserved for.
        what: &'static str,
    },
}

/// An IPv4 range for virtual IPs, `169.254.255.0/24` unless configured otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VipRange(Ipv4Net);

impl VipRange {
    /// Parses a range.
    ///
    /// # Errors
    /// When it is not an IPv4 range, or overlaps loopback, multicast, "this network" or the limited broadcast block.
    pub fn parse(written: &str) -> Result<Self, RangeError> {
        let range: Ipv4Net = written.parse().map_err(|_| RangeError::Syntax(written.to_owned()))?;
        let range = range.trunc();
        let special = [
            ([0, 0, 0, 0], 8, "this network, RFC 791"),
            ([127, 0, 0, 0], 8, "loopback, RFC 1122"),
            ([224, 0, 0, 0], 4, "multicast, RFC 5771"),
            ([255, 255, 255, 255], 32, "limited broadcast, RFC 919"),
        ];
        for (octets, prefix, what) in special {
            let taken = Ipv4Net::new_assert(Ipv4Addr::from(octets), prefix);
            if range.contains(&taken) || taken.contains(&range) {
                return Err(RangeError::Overlap { range, taken, what });
            }
        }
        Ok(Self(range))
    }

    /// The range as a network.
    pub fn net(self) -> Ipv4Net {
        self.0
    }

    /// Whether an address belongs to the range.
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        self.0.contains(&ip)
    }

    /// Whether an address may be given to a service: it is in the range, it is neither the network nor the broadcast
    /// address, and neither BOSH nor an IaaS uses it.
    pub fn is_usable(self, ip: Ipv4Addr) -> bool {
        let has_edges = self.0.prefix_len() < 31;
        let edge = has_edges && (ip == self.0.network() || ip == self.0.broadcast());
        self.0.contains(&ip) && !edge && ip != BOSH_DNS && ip != METADATA
    }

    /// All usable addresses, starting at the one that belongs to `start` and going round once.
    pub fn usable_from(self, start: u64) -> impl Iterator<Item = Ipv4Addr> {
        let size = 1u64 << (32 - self.0.prefix_len());
        let first = u64::from(u32::from(self.0.network()));
        (0..size).filter_map(move |step| {
            let offset = (start % size + step) % size;
            let ip = Ipv4Addr::from(u32::try_from(first + offset).ok()?);
            self.is_usable(ip).then_some(ip)
        })
    }

    /// Number of services that the range can hold.
    pub fn capacity(self) -> u64 {
        let size = 1u64 << (32 - self.0.prefix_len());
        let edges = if self.0.prefix_len() < 31 { 2 } else { 0 };
        let inside = |ip: Ipv4Addr| {
            u64::from(self.contains(ip) && (edges == 0 || (ip != self.0.network() && ip != self.0.broadcast())))
        };
        size - edges - inside(BOSH_DNS) - inside(METADATA)
    }
}

impl Default for VipRange {
    fn default() -> Self {
        Self(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 255, 0), 24))
    }
}

impl fmt::Display for VipRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for VipRange {
    type Error = RangeError;
    fn try_from(written: String) -> Result<Self, RangeError> {
        Self::parse(&written)
    }
}

impl From<VipRange> for String {
    fn from(range: VipRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_broadcast_bosh_dns_and_metadata_are_kept_out() {
        let range = VipRange::parse("169.254.0.0/16").unwrap();
        let all: Vec<_> = range.usable_from(0).collect();
        assert_eq!(all.len() as u64, range.capacity());
        for ip in ["169.254.0.0", "169.254.255.255", "169.254.0.2", "169.254.169.254"] {
            assert!(!all.contains(&ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn going_round_meets_each_address_once_wherever_it_starts() {
        let range = VipRange::parse("10.9.8.0/29").unwrap();
        let mut all: Vec<_> = range.usable_from(u64::MAX).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len() as u64, range.capacity());
        assert_eq!(range.capacity(), 6);
    }

    #[test]
    fn ranges_with_a_meaning_of_their_own_are_refused() {
        for bad in ["127.0.1.0/24", "224.0.0.0/8", "0.0.0.0/0", "255.255.255.255/32", "169.254.255.0"] {
            assert!(VipRange::parse(bad).is_err(), "{bad}");
        }
    }
}
