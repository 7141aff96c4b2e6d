//! The rtnetlink requests that the lab needs: a bridge, a pair of virtual Ethernet devices, an address, "up", and a
//! deletion.
//!
//! It speaks netlink directly, so that the lab works where iproute2 is not installed. Each request is one message with
//! one acknowledgement. Every call acts on the network namespace of the calling thread.

use std::{io, net::Ipv4Addr};

use boshy_netlink::{ACK, CREATE, EXCLUSIVE, Socket, Writer};
use ipnet::Ipv4Net;
use nix::{net::if_::if_nametoindex, sys::socket::SockProtocol};

use crate::error::{Doing, LabError};

/// `VETH_INFO_PEER` of linux/veth.h.
const VETH_INFO_PEER: u16 = 1;
/// Flag of an interface that is on.
const UP: u32 = libc::IFF_UP as u32;

/// Creates a bridge that is up and has an address.
///
/// Without an explicit hardware address, a bridge takes the lowest one of its ports, so that a VM that is added or removed
/// may change it, and for seconds other VMs send to the old address.
pub(crate) fn create_bridge(name: &str, address: Ipv4Net) -> Result<(), LabError> {
    let made = new_link(|link| {
        link.text(libc::IFLA_IFNAME, name);
        link.attribute(libc::IFLA_ADDRESS, &hardware_address(address.addr()));
        link.nested(libc::IFLA_LINKINFO, |info| info.text(libc::IFLA_INFO_KIND, "bridge"));
    });
    made.doing(|| format!("making the bridge {name}"))?;
    add_address(name, address)
}

/// Creates a virtual Ethernet pair: `name` here, up and a port of `bridge`, and `peer` in the network namespace of the
/// process `pid`, for an address there.
///
/// The address may have been another VM's a moment ago. Others that had its hardware address confirmed just then keep it
/// for half a minute, and a gratuitous ARP request at the start is too early: the bridge drops what comes from a port
/// whose carrier it has not noticed yet. A BOSH agent repeats the request; here the hardware address stays the same.
pub(crate) fn create_pair(
    name: &str,
    bridge: &str,
    (peer, address): (&str, Ipv4Net),
    pid: u32,
) -> Result<(), LabError> {
    let master = index(bridge)?;
    let made = new_link(|link| {
        link.text(libc::IFLA_IFNAME, name);
        link.u32_ne(libc::IFLA_MASTER, master);
        link.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |other| {
                    other.raw(&interface_info(0, 0));
                    other.text(libc::IFLA_IFNAME, peer);
                    other.attribute(libc::IFLA_ADDRESS, &hardware_address(address.addr()));
                    other.u32_ne(libc::IFLA_NET_NS_PID, pid);
                });
            });
        });
    });
    made.doing(|| format!("making the pair {name} and {peer}"))
}

/// Deletes an interface, and with it the other end of its pair. One that is gone already is no error.
pub(crate) fn delete(name: &str) -> Result<(), LabError> {
    let deleted = if_nametoindex(name).map_err(io::Error::from).and_then(|index| {
        let info = interface_info(index, 0);
        request(libc::RTM_DELLINK, 0, |link| link.raw(&info))
    });
    match deleted {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other.doing(|| format!("deleting the interface {name}")),
    }
}

/// Sets an interface up.
pub(crate) fn set_up(name: &str) -> Result<(), LabError> {
    let info = interface_info(index(name)?, UP);
    request(libc::RTM_NEWLINK, 0, |link| link.raw(&info)).doing(|| format!("turning on {name}"))
}

/// A locally administered hardware address, which derives from the IP address.
fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x00, a, b, c, d]
}

/// Adds an address to an interface, and with it the route to its network.
pub(crate) fn add_address(name: &str, address: Ipv4Net) -> Result<(), LabError> {
    let index = index(name)?;
    let added = request(libc::RTM_NEWADDR, CREATE | EXCLUSIVE, |message| {
        message.raw(&[libc::AF_INET as u8, address.prefix_len(), 0, 0]);
        message.raw(&index.to_ne_bytes());
        message.attribute(libc::IFA_LOCAL, &address.addr().octets());
        message.attribute(libc::IFA_ADDRESS, &address.addr().octets());
    });
    added.doing(|| format!("giving {name} the address {address}"))
}

fn index(name: &str) -> Result<u32, LabError> {
    if_nametoindex(name).doing(|| format!("looking up the interface {name}"))
}

/// Creates a link that is up, with these attributes.
fn new_link(attributes: impl FnOnce(&mut Writer)) -> io::Result<()> {
    request(libc::RTM_NEWLINK, CREATE | EXCLUSIVE, |link| {
        link.raw(&interface_info(0, UP));
        attributes(link);
    })
}

/// `struct ifinfomsg`: family, padding, type, index, flags, mask of the flags to change.
fn interface_info(index: u32, flags: u32) -> [u8; 16] {
    let mut info = [0; 16];
    info[4..8].copy_from_slice(&index.to_ne_bytes());
    info[8..12].copy_from_slice(&flags.to_ne_bytes());
    info[12..16].copy_from_slice(&flags.to_ne_bytes());
    info
}

/// Sends one request and waits for its acknowledgement.
fn request(kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) -> io::Result<()> {
    let mut socket = Socket::open(SockProtocol::NetlinkRoute, 0)?;
    Ok(socket.ask(|sequence| Writer::single(kind, ACK | flags, sequence, body), |_| {})?)
}
