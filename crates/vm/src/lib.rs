//! Determines this VM's address in the mesh.
//!
//! A director renders a job's templates before a VM on a `dynamic` network exists, and an instance may have only IPv6
//! addresses. So the address in the settings is one source of several, and the VM's interfaces decide: an address that
//! no interface has leads nowhere.
//!
//! [`choose`] is the rule, and [`Sources`] collects its input. The agent asks repeatedly, because an address may appear
//! later or change (DHCP). Envoy's bootstrap asks once.

mod sources;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use boshy_mesh::VipRange;

pub use self::sources::{Sources, Wanted};

/// What is known about a VM's addresses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The address in the settings, which is `spec.ip` of the job.
    pub given: Option<IpAddr>,
    /// The instance's addresses in `records.json`, in the file's order.
    pub recorded: Vec<IpAddr>,
    /// Addresses of the interfaces, in the kernel's order.
    pub on_interfaces: Vec<IpAddr>,
    /// The source address of connections to the outside; `None` without a default route.
    pub towards_outside: Option<Ipv4Addr>,
}

/// Why a VM has no address in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The VM has only IPv6 addresses, but virtual IPs are IPv4.
    #[error("this VM has no IPv4 address, only {0}")]
    OnlyIpv6(Ipv6Addr),
    /// No interface has an address yet, for example before DHCP has answered.
    #[error("no interface of this VM has an address yet")]
    NotYet,
    /// Connections to the VM's own address would be redirected to a service.
    #[error("this VM's address {0} lies in the range of virtual IPs, {1}")]
    InRange(Ipv4Addr, VipRange),
}

impl NoAddress {
    /// What an operator can do about it, in full sentences.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::OnlyIpv6(_) => {
                "Give the instance group a network with IPv4 beside it; without one there is nothing to do, and the mesh stays away \
                 from this VM."
            }
            Self::NotYet => "See `ip address`; the agent goes on by itself once an interface has an address.",
            Self::InRange(..) => {
                "Choose another `vip_range` for the pilot and all agents; until then this VM is left as it is."
            }
        }
    }
}

/// Chooses the address. In this order:
///
/// 1. the address in the settings, if an interface has it;
/// 2. an address in `records.json` that an interface has;
/// 3. the address in the settings, which an interface may still get;
/// 4. the source address of connections to the outside;
/// 5. the first address of the interfaces.
///
/// # Errors
/// When the mesh can use none of them.
pub fn choose(facts: &Facts, range: VipRange) -> Result<Ipv4Addr, NoAddress> {
    let borne: Vec<Ipv4Addr> = facts.on_interfaces.iter().filter_map(usable).collect();
    let is_borne = |ip: &Ipv4Addr| borne.contains(ip);
    let given = facts.given.iter().filter_map(usable);
    let recorded: Vec<Ipv4Addr> = facts.recorded.iter().filter_map(usable).filter(is_borne).collect();
    let outside = facts.towards_outside.filter(is_borne);
    // An instance on several networks has several rows, and no row says which network is the default.
    let recorded = recorded.iter().find(|ip| Some(**ip) == outside).or(recorded.first()).copied();
    let found = given.clone().find(is_borne).or(recorded).or_else(|| given.clone().next());
    let address = found.or(outside).or_else(|| borne.first().copied()).ok_or_else(|| none_of(facts))?;
    if range.contains(address) { Err(NoAddress::InRange(address, range)) } else { Ok(address) }
}

fn none_of(facts: &Facts) -> NoAddress {
    let global = |ip: &IpAddr| match ip {
        IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unspecified() && !ip.is_unicast_link_local() => Some(*ip),
        _ => None,
    };
    let all = facts.on_interfaces.iter().chain(&facts.given).chain(&facts.recorded);
    all.filter_map(global).next().map_or(NoAddress::NotYet, NoAddress::OnlyIpv6)
}

/// Addresses at which other VMs can reach a VM. 169.254.0.2 exists on every VM with bosh-dns, and a director writes
/// 127.0.0.1 when it does not know the address.
fn usable(ip: &IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip)
            if !ip.is_loopback()
                && !ip.is_link_local()
                && !ip.is_unspecified()
                && !ip.is_multicast()
                && !ip.is_broadcast() =>
        {
            Some(*ip)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
