//! Names of interfaces and parts of addresses, as the octets that nf_tables compares a register with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Length of an interface's name in the register, with zeros behind it.
const NAME_LENGTH: usize = 16;

/// What the name of an interface is compared with: all of the register, or as much of it as precedes a final `*`.
pub(super) fn name_compared(interface: &str) -> Vec<u8> {
    if let Some(prefix) = interface.strip_suffix('*') {
        return prefix.as_bytes().to_vec();
    }
    let mut whole = interface.as_bytes().to_vec();
    whole.resize(NAME_LENGTH, 0);
    whole
}

/// The reverse of [`name_compared`].
pub(super) fn interface(compared: &[u8]) -> Option<String> {
    let name = compared.split(|octet| *octet == 0).next().unwrap_or_default();
    let (whole, text) = (compared.len() == NAME_LENGTH, String::from_utf8(name.to_vec()).ok()?);
    let interface = if whole { text } else { format!("{text}*") };
    (name_compared(&interface) == compared).then_some(interface)
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn masked(mask: &[u8], network: &[u8]) -> Option<IpNet> {
    IpNet::with_netmask(address_of(network)?, address_of(mask)?).ok()
}

/// The network that these first bytes of an address name, which has as many bytes as `whole` says.
pub(super) fn prefix(whole: usize, length: u32, first: &[u8]) -> Option<IpNet> {
    let bytes = usize::try_from(length).ok().filter(|bytes| *bytes == first.len() && (1..=whole).contains(bytes))?;
    let mut octets = vec![0; whole];
    octets[..bytes].copy_from_slice(first);
    IpNet::new(address_of(&octets)?, u8::try_from(bytes * 8).ok()?).ok()
}

fn address_of(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into())).ok()
}
