//! Sources of a VM's addresses.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    time::SystemTime,
};

use boshy_mesh::VipRange;
use boshy_records::Records;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, sys::socket::SockaddrStorage};

use crate::{Facts, NoAddress, choose};

/// A larger file is not read. The records of a hundred thousand instances take some 30 MB.
const MAX_BYTES: u64 = 128 << 20;

/// What the settings say about this VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The VM's address, when it was known at the time of rendering.
    pub given: Option<IpAddr>,
    /// The instance's uuid.
    pub id: String,
    /// Path of `records.json`; the file may be missing.
    pub records: PathBuf,
}

/// Collects the facts about a VM's addresses. The records are read again when the file has changed.
#[derive(Debug)]
pub struct Sources {
    wanted: Wanted,
    seen: Option<(SystemTime, u64)>,
    recorded: Vec<IpAddr>,
}

impl Sources {
    /// Sources that have not been read yet.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, seen: None, recorded: Vec::new() }
    }

    /// The VM's current address. Cheap enough to call every second: it makes a few system calls, and reads the file
    /// only when it has changed.
    ///
    /// # Errors
    /// When the mesh can use no address of this VM.
    pub fn address(&mut self, range: VipRange) -> Result<Ipv4Addr, NoAddress> {
        choose(&self.facts(), range)
    }

    pub(crate) fn facts(&mut self) -> Facts {
        self.read_records();
        Facts {
            given: self.wanted.given,
            recorded: self.recorded.clone(),
            on_interfaces: on_interfaces(),
            towards_outside: towards_outside(),
        }
    }

    /// Reads the records. While the file is missing or cannot be parsed, the addresses read before stay.
    fn read_records(&mut self) {
        let path: &Path = &self.wanted.records;
        let Ok(now) = fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len()))) else { return };
        if self.seen == Some(now) {
            return;
        }
        let Some(records) = boshy_state::read_regular(path, MAX_BYTES)
            .ok()
            .and_then(|text| Records::read_where(&text, |row| row.id.eq_ignore_ascii_case(&self.wanted.id)).ok())
        else {
            return;
        };
        self.seen = Some(now);
        // A block is routed to the VM, and no interface has its address.
        let single = records.rows.iter().filter(|row| row.address.prefix.is_none());
        self.recorded = single.map(|row| row.address.ip).collect();
    }
}

/// Addresses of interfaces that are up.
fn on_interfaces() -> Vec<IpAddr> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let ip = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    all.filter(|one| one.flags.contains(InterfaceFlags::IFF_UP)).filter_map(|one| ip(one.address?)).collect()
}

/// The source address of connections to the outside. Connecting a datagram socket makes the kernel choose a route and
/// sends nothing.
fn towards_outside() -> Option<Ipv4Addr> {
    /// An address of a documentation block (RFC 5737), which only a default route covers.
    const OUTSIDE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(OUTSIDE).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}
