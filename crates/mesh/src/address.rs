//! Addresses as a director writes them, and which of them cannot belong to an instance.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A single address, or a block of addresses that is routed to a VM (`10.20.0.16/28`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The address, or the first one of the block.
    pub ip: IpAddr,
    /// Length of the block's prefix. `None` for a single address, also when it is written with `/32` or `/128`.
    pub prefix: Option<u8>,
}

impl Address {
    /// Parses an address or a block; `None` when the text is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().ok()?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse::<u8>().ok()?),
            Some(_) => return None,
            None => None,
        };
        if prefix.is_some_and(|prefix| prefix > width) {
            return None;
        }
        Some(Self { ip, prefix: prefix.filter(|prefix| *prefix < width) })
    }

    /// Whether this is a block.
    pub fn is_block(self) -> bool {
        self.prefix.is_some()
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self { ip, prefix: None }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        self.prefix.map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format_args!("{text:?} is no IP address")))
    }
}

/// The metadata service of AWS over IPv6. The metadata services of all clouds over IPv4 are link-local.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The reason why no VM can be reached at an address, whatever the director says. `None` when a VM can be reached
/// there.
pub(crate) fn impossible(ip: IpAddr) -> Option<&'static str> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => impossible_v4(ip),
        IpAddr::V6(ip) if ip.is_unspecified() => Some("is no address at all"),
        IpAddr::V6(ip) if ip.is_loopback() => Some("is every VM's own"),
        IpAddr::V6(ip) if ip.is_multicast() => Some("is a multicast address"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("is link-local"),
        IpAddr::V6(METADATA_V6) => Some("is the cloud's metadata service"),
        IpAddr::V6(_) => None,
    }
}

fn impossible_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip {
        _ if ip.octets()[0] == 0 => Some("is no address at all"),
        _ if ip.is_loopback() => Some("is every VM's own"),
        _ if ip.is_multicast() => Some("is a multicast address"),
        _ if ip.is_broadcast() => Some("is the broadcast address"),
        _ if ip.is_link_local() => Some("is link-local"),
        _ => None,
    }
}

/// Whether an address is private, that is, used only inside networks.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        // RFC 1918, and RFC 6598 for carriers.
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_may_be_a_block() {
        let address = |text: &str| Address::parse(text).map(|address| (address.ip.to_string(), address.prefix));
        assert_eq!(address("10.20.0.16/28"), Some(("10.20.0.16".into(), Some(28))));
        assert_eq!(address("10.20.0.16/32"), Some(("10.20.0.16".into(), None)));
        assert_eq!(address("fd00::10/80"), Some(("fd00::10".into(), Some(80))));
        assert_eq!(address("fd00::10/128"), Some(("fd00::10".into(), None)));
        for text in [
            "",
            "10.0.0.1/",
            "10.0.0.1/33",
            "10.0.0.1/+8",
            "fd00::/129",
            "10.0.0.1/8/8",
            "10.0.0.256",
            "010.0.0.1",
            "a",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_that_no_instance_can_have() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.8.8.8",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "169.254.0.2",
            "169.254.169.254",
            "::",
            "::1",
            "ff02::1",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.0.2",
        ] {
            assert!(impossible(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in ["10.0.0.1", "192.168.0.255", "100.64.0.1", "8.8.8.8", "240.0.0.1", "fd00::1", "2001:db8::1"] {
            assert_eq!(impossible(text.parse().unwrap()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_written_is_read(bits: u128, prefix in 0_u8..=128) {
            let ip = IpAddr::V6(Ipv6Addr::from(bits));
            let read = Address::parse(&format!("{ip}/{prefix}")).unwrap();
            prop_assert_eq!(read, Address { ip, prefix: Some(prefix).filter(|prefix| *prefix < 128) });
            prop_assert_eq!(Address::parse(&read.to_string()), Some(read));
        }
    }
}
