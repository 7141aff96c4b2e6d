//! Which address this VM has in the mesh.
//!
//! A director fills in a job's templates before a VM on a `dynamic` network exists, and an instance may have IPv6 addresses alone. So what
//! the settings say is one source of several, and the VM itself has the last word: an address that no interface bears leads nowhere.
//!
//! [`choose`] is the rule and [`Sources`] reads what it is about. The agent asks again and again, because an address may come later or
//! change (DHCP); Envoy's bootstrap asks once.

mod sources;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use boshy_mesh::VipRange;

pub use self::sources::{Sources, Wanted};

/// What is known of a VM's addresses at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the settings say, which is `spec.ip` of the job.
    pub given: Option<IpAddr>,
    /// What `records.json` says of the instance, in the file's order.
    pub recorded: Vec<IpAddr>,
    /// Addresses of the interfaces, in the kernel's order.
    pub on_interfaces: Vec<IpAddr>,
    /// The address that connections to the outside leave from; `None` without a default route.
    pub towards_outside: Option<Ipv4Addr>,
}

/// Why a VM has no address in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The mesh's virtual IPs are IPv4 alone.
    #[error("this VM has no IPv4 address, only {0}")]
    OnlyIpv6(Ipv6Addr),
    /// Not yet, as while DHCP has not answered.
    #[error("no interface of this VM has an address yet")]
    NotYet,
    /// What is sent to the own address would be sent to a service.
    #[error("this VM's address {0} lies in the range of virtual IPs, {1}")]
    InRange(Ipv4Addr, VipRange),
}

impl NoAddress {
    /// What an operator can do about it, as a sentence.
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

/// The rule. In order: what the settings say and an interface bears; what the director has published of this instance and an interface
/// bears; what the settings say, which may be on its way; where connections to the outside leave from; the first of the interfaces.
///
/// # Errors
/// When there is none that the mesh can use.
pub fn choose(facts: &Facts, range: VipRange) -> Result<Ipv4Addr, NoAddress> {
    let borne: Vec<Ipv4Addr> = facts.on_interfaces.iter().filter_map(usable).collect();
    let is_borne = |ip: &Ipv4Addr| borne.contains(ip);
    let given = facts.given.iter().filter_map(usable);
    let recorded: Vec<Ipv4Addr> = facts.recorded.iter().filter_map(usable).filter(is_borne).collect();
    let outside = facts.towards_outside.filter(is_borne);
    // An instance on several networks has several rows, which do not say which one is the default.
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

/// Addresses that others can reach a VM by. 169.254.0.2 is on every VM with bosh-dns; a director writes 127.0.0.1 where it does not know.
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
