//! The names that every server has, and the question for each.

use std::net::Ipv4Addr;

/// Number of names that each server has.
pub(crate) const NAMES: usize = 1000;

/// The name for a number. Its first label ends with the number in four digits.
pub(crate) fn name_of(number: usize) -> String {
    format!("httpbin-{number:04}.banana.sample-deployment.boshy")
}

/// The address for a number.
pub(crate) fn address_of(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a40_0000 + number as u32)
}

/// A question for the address of a name.
pub(crate) fn question(id: u16, number: usize) -> Vec<u8> {
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet[..2].copy_from_slice(&id.to_be_bytes());
    for label in name_of(number).split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}
