//! Instances, and the address that each is reached at.

use std::{cmp::Reverse, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    Address, InstanceGroup,
    address::{impossible, is_private},
    label::canonical,
};

/// An address with its network, as `records.json` of the pilot's VM has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Recorded {
    /// Network, in the canonical form of DNS names.
    pub network: String,
    /// The instance's address there.
    pub address: Address,
}

/// An instance, as `GET /deployments/:name/instances` gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Instance group name as the director has it now (`job` on the wire).
    pub group: String,
    /// Index in the group; `None` when the director gave none that can be read.
    pub index: Option<u32>,
    /// Instance uuid.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// All addresses, in the director's order. Empty without a VM.
    pub ips: Vec<Address>,
    /// False for detached instances and for errands without a VM.
    pub expects_vm: bool,
    /// The agent of its VM. Another agent is another VM.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// When the director made its VM, in seconds since the Unix epoch.
    #[serde(default)]
    pub vm_created_at: Option<u64>,
    /// When it was first seen with this VM and these addresses, in seconds since the Unix epoch.
    #[serde(default)]
    pub since: u64,
    /// The group in which it was when the manifest last had its group. A deploy renames instances (`migrated_from`) when it begins,
    /// and the director shows the new manifest when it ends.
    #[serde(default)]
    pub formerly: Option<String>,
    /// What `records.json` says about this VM.
    #[serde(default)]
    pub recorded: Vec<Recorded>,
}

/// A network of an instance group, as its manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupNetwork {
    /// Name as written.
    pub name: String,
    /// What it is the default for: `gateway`, `dns`, `addressable`.
    pub default: Vec<String>,
    /// `static_ips`, first and last address of each range.
    pub static_ips: Vec<(IpAddr, IpAddr)>,
}

/// A network of the cloud config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CloudNetwork {
    /// Name as written.
    pub name: String,
    /// Whether its addresses are given to VMs from outside (`type: vip`).
    pub is_vip: bool,
    /// Ranges of its subnets.
    pub ranges: Vec<IpNet>,
}

/// How good an address is to reach an instance at; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Addressable,
    Gateway,
    Dns,
    Unknown,
    NotDefault,
    Vip,
}

impl Instance {
    /// `GROUP/INDEX`, or `GROUP/ID` when it has no index.
    pub fn title(&self) -> String {
        self.index.map_or_else(|| format!("{}/{}", self.group, self.id), |index| format!("{}/{index}", self.group))
    }

    /// All its addresses that are no blocks.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let recorded = self.recorded.iter().map(|recorded| recorded.address);
        let all = self.ips.iter().copied().chain(recorded.filter(|address| !self.ips.contains(address)));
        all.filter(|address| !address.is_block()).map(|address| address.ip)
    }

    /// The address that it is reached at.
    ///
    /// That of the network which the manifest makes the default: for `addressable`, else for `gateway`, else for `dns`. To which network
    /// an address belongs is known from `records.json`, else from the manifest's `static_ips`, else from the cloud config's ranges. Of
    /// addresses of unknown networks a private one is taken before a public one, because the public one may be an elastic
    /// address. A single address goes before a block, IPv4 before IPv6, and then the director's order counts.
    ///
    /// What no VM can be reached at is passed over.
    pub(crate) fn address(&self, group: &InstanceGroup, cloud: &[CloudNetwork]) -> Option<IpAddr> {
        let recorded = self.recorded.iter().map(|recorded| recorded.address);
        let all = self.ips.iter().copied().chain(recorded).filter(|address| impossible(address.ip).is_none());
        let rank = |address: Address| {
            let network = self.network_of(address, group, cloud);
            let rank = rank(network, group, cloud);
            let public = rank == Rank::Unknown && !is_private(address.ip);
            (address.is_block(), rank, public, Reverse(address.ip.is_ipv4()))
        };
        all.min_by_key(|address| rank(*address)).map(|address| address.ip)
    }

    /// The group's network that an address belongs to.
    fn network_of<'g>(
        &self,
        address: Address,
        group: &'g InstanceGroup,
        cloud: &[CloudNetwork],
    ) -> Option<&'g GroupNetwork> {
        let recorded = self.recorded.iter().find(|recorded| recorded.address == address);
        let by_record = recorded.and_then(|recorded| {
            group.networks.iter().find(|network| canonical(&network.name) == canonical(&recorded.network))
        });
        let holds = |network: &&GroupNetwork| {
            network.static_ips.iter().any(|(first, last)| (*first..=*last).contains(&address.ip))
        };
        let in_range = |network: &&GroupNetwork| {
            let cloud = cloud.iter().filter(|cloud| cloud.name == network.name);
            cloud.flat_map(|cloud| &cloud.ranges).any(|range| range.contains(&address.ip))
        };
        by_record.or_else(|| group.networks.iter().find(holds)).or_else(|| group.networks.iter().find(in_range))
    }
}

fn rank(network: Option<&GroupNetwork>, group: &InstanceGroup, cloud: &[CloudNetwork]) -> Rank {
    let Some(network) = network else { return Rank::Unknown };
    let is_default_for = |what: &str| network.default.iter().any(|default| default == what);
    match () {
        () if cloud.iter().any(|cloud| cloud.name == network.name && cloud.is_vip) => Rank::Vip,
        () if is_default_for("addressable") => Rank::Addressable,
        () if is_default_for("gateway") || group.networks.len() == 1 => Rank::Gateway,
        () if is_default_for("dns") => Rank::Dns,
        () => Rank::NotDefault,
    }
}

#[cfg(test)]
#[path = "instance_tests.rs"]
mod tests;
