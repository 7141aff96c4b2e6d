//! One row of the file.

use crate::Address;

/// An instance on one of its networks. Names are in the canonical form of DNS (lower case, `_` as `-`, other characters
/// dropped).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// UUID of the instance.
    pub id: String,
    /// Number of the instance in DNS queries.
    pub num_id: String,
    /// Name of its instance group.
    pub instance_group: String,
    /// Numbers of the group and of its links in DNS queries.
    pub group_ids: Vec<String>,
    /// Name of its availability zone, when it has one.
    pub az: Option<String>,
    /// Number of the availability zone in DNS queries.
    pub az_id: Option<String>,
    /// Name of the network that the address is in.
    pub network: String,
    /// Number of the network in DNS queries.
    pub network_id: String,
    /// Name of its deployment.
    pub deployment: String,
    /// The instance's address on that network.
    pub address: Address,
    /// Domain of its DNS names, without a final dot.
    pub domain: String,
    /// Agent id of the VM. A different agent id means a different VM, even at the same address.
    pub agent_id: Option<String>,
    /// Index in the group.
    pub index: Option<u32>,
}
