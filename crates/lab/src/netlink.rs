//! The rtnetlink requests that the lab needs: a bridge, a pair of virtual Ethernet devices, an address, and "up".
//!
//! It speaks netlink directly, so that the lab works where iproute2 is not installed. Each request is one message with
//! one acknowledgement. Every call acts on the network namespace of the calling thread.

use std::{io, os::fd::AsRawFd};

use ipnet::Ipv4Net;
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket},
};

use crate::error::{Doing, LabError};

/// `VETH_INFO_PEER` of linux/veth.h.
const VETH_INFO_PEER: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// Creates a bridge that is up and has an address.
///
/// Its hardware address is set explicitly, derived from the IP address. Otherwise a bridge takes the lowest address of
/// its ports, so that a VM that is added or removed may change it, and for seconds other VMs send to the old address.
pub(crate) fn create_bridge(name: &str, address: Ipv4Net) -> Result<(), LabError> {
    const LOCALLY_ADMINISTERED: [u8; 2] = [0x02, 0x00];
    let mut link = new_link(0, libc::IFF_UP as u32);
    link.text(libc::IFLA_IFNAME, name);
    link.attribute(libc::IFLA_ADDRESS, &[&LOCALLY_ADMINISTERED[..], &address.addr().octets()].concat());
    link.nested(libc::IFLA_LINKINFO, |info| info.text(libc::IFLA_INFO_KIND, "bridge"));
    link.send().doing(|| format!("making the bridge {name}"))?;
    add_address(name, address)
}

/// Creates a virtual Ethernet pair: `name` here, up and a port of `bridge`, and `peer` in the network namespace of the
/// process `pid`.
pub(crate) fn create_pair(name: &str, bridge: &str, peer: &str, pid: u32) -> Result<(), LabError> {
    let master = index(bridge)?;
    let mut link = new_link(0, libc::IFF_UP as u32);
    link.text(libc::IFLA_IFNAME, name);
    link.number(libc::IFLA_MASTER, master);
    link.nested(libc::IFLA_LINKINFO, |info| {
        info.text(libc::IFLA_INFO_KIND, "veth");
        info.nested(libc::IFLA_INFO_DATA, |data| {
            data.nested(VETH_INFO_PEER, |other| {
                other.bytes.extend_from_slice(&interface_info(0, 0));
                other.text(libc::IFLA_IFNAME, peer);
                other.number(libc::IFLA_NET_NS_PID, pid);
            });
        });
    });
    link.send().doing(|| format!("making the pair {name} and {peer}"))
}

/// Sets an interface up.
pub(crate) fn set_up(name: &str) -> Result<(), LabError> {
    new_link(index(name)?, libc::IFF_UP as u32).send().doing(|| format!("turning on {name}"))
}

/// Adds an address to an interface, and with it the route to its network.
pub(crate) fn add_address(name: &str, address: Ipv4Net) -> Result<(), LabError> {
    let mut payload = vec![libc::AF_INET as u8, address.prefix_len(), 0, 0];
    payload.extend_from_slice(&index(name)?.to_ne_bytes());
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = Message::new(libc::RTM_NEWADDR, flags, &payload);
    message.attribute(libc::IFA_LOCAL, &address.addr().octets());
    message.attribute(libc::IFA_ADDRESS, &address.addr().octets());
    message.send().doing(|| format!("giving {name} the address {address}"))
}

fn index(name: &str) -> Result<u32, LabError> {
    if_nametoindex(name).doing(|| format!("looking up the interface {name}"))
}

fn new_link(index: u32, up: u32) -> Message {
    let create = if index == 0 { libc::NLM_F_CREATE | libc::NLM_F_EXCL } else { 0 };
    Message::new(libc::RTM_NEWLINK, create, &interface_info(index, up))
}

/// `struct ifinfomsg`: family, padding, type, index, flags, mask of the flags to change.
fn interface_info(index: u32, flags: u32) -> [u8; 16] {
    let mut info = [0; 16];
    info[4..8].copy_from_slice(&index.to_ne_bytes());
    info[8..12].copy_from_slice(&flags.to_ne_bytes());
    info[12..16].copy_from_slice(&flags.to_ne_bytes());
    info
}

/// A netlink message under construction.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: i32, payload: &[u8]) -> Self {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(payload);
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |message| message.bytes.extend_from_slice(value));
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.nested(kind, |message| {
            message.bytes.extend_from_slice(value.as_bytes());
            message.bytes.push(0);
        });
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// `struct rtattr`: length without padding and kind, then the value, padded to four bytes.
    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn send(mut self) -> io::Result<()> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        sendto(socket.as_raw_fd(), &self.bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = [0; 4096];
        let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        acknowledged(&answer[..length])
    }
}

/// Parses `struct nlmsgerr`: zero for success, or a negative errno.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
    let code = answer.get(HEADER..HEADER + 4).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    match (kind, code) {
        (Some(kind), Some(0)) if i32::from(kind) == libc::NLMSG_ERROR => Ok(()),
        (Some(kind), Some(code)) if i32::from(kind) == libc::NLMSG_ERROR => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "netlink answered with something else than an acknowledgement",
        )),
    }
}
