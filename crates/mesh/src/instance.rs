//! Instances, and the address at which each is reached.

use std::{cmp::Reverse, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    Address, AvailabilityZone, GroupNetwork, InstanceGroup,
    address::{impossible, is_private},
    label::canonical,
};

/// An address with its network, as listed in `records.json` of the pilot's VM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Recorded {
    /// Network, in the canonical form used in DNS names.
    pub network: String,
    /// The instance's address in that network.
    pub address: Address,
}

/// An instance, as `GET /deployments/:name/instances` gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Instance group name as the director has it now (`job` on the wire).
    pub group: String,
    /// Index in the group; `None` when the director gave none that can be parsed.
    pub index: Option<u32>,
    /// Instance uuid.
    pub id: String,
    /// Availability zone.
    pub az: AvailabilityZone,
    /// All addresses, in the director's order. Empty without a VM.
    pub ips: Vec<Address>,
    /// False for detached instances and for errands without a VM.
    pub expects_vm: bool,
    /// Agent id of the instance's VM. A different agent id means a different VM.
    #[serde(default)]
    pub agent_id: Option<String>,
    /// When the director created the VM, in seconds since the Unix epoch.
    #[serde(default)]
    pub vm_created_at: Option<u64>,
    /// When the instance was first seen with this VM and these addresses, in seconds since the Unix epoch.
    #[serde(default)]
    pub since: u64,
    /// The instance's group at the time when the manifest last contained that group. A deploy renames instances
    /// (`migrated_from`) when it begins, but the director shows the new manifest only when the deploy ends.
    #[serde(default)]
    pub formerly: Option<String>,
    /// The entries of `records.json` for this VM.
    #[serde(default)]
    pub recorded: Vec<Recorded>,
}

/// A network of the cloud config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CloudNetwork {
    /// Name as written.
    pub name: String,
    /// Whether its addresses are assigned to VMs from outside (`type: vip`).
    pub is_vip: bool,
    /// Ranges of its subnets.
    pub ranges: Vec<IpNet>,
}

/// How suitable an address is to reach an instance at; less is better.
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

    /// All its addresses that are not blocks.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.all_addresses().filter(|address| !address.is_block()).map(|address| address.ip)
    }

    /// All its addresses and blocks at which a VM can be reached.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = Address> {
        self.all_addresses().filter(|address| impossible(address.ip).is_none())
    }

    fn all_addresses(&self) -> impl Iterator<Item = Address> {
        let recorded = self.recorded.iter().map(|recorded| recorded.address);
        self.ips.iter().copied().chain(recorded.filter(|address| !self.ips.contains(address)))
    }

    /// The address at which the instance is reached.
    ///
    /// The address in the network that the manifest makes the default: for `addressable`, else for `gateway`, else for
    /// `dns`. The network of an address is looked up in `records.json`, else in the manifest's `static_ips`, else in
    /// the cloud config's ranges. Among addresses of unknown networks, a private address precedes a public one, because
    /// the public one may be an elastic address. A single address precedes a block, IPv4 precedes IPv6, and then the
    /// director's order decides.
    ///
    /// Addresses at which no VM can be reached are skipped.
    pub(crate) fn address(&self, group: &InstanceGroup, cloud: &[CloudNetwork]) -> Option<IpAddr> {
        let rank = |address: Address| {
            let network = self.network_of(address, group, cloud);
            let rank = rank(network, group, cloud);
            let public = rank == Rank::Unknown && !is_private(address.ip);
            (address.is_block(), rank, public, Reverse(address.ip.is_ipv4()))
        };
        self.reachable().min_by_key(|address| rank(*address)).map(|address| address.ip)
    }

    /// The group's network to which an address belongs.
    pub(crate) fn network_of<'g>(
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
