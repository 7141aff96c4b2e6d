//! Workloads: who is there.

use crate::Address;

/// Availability zone of a VM; `None` when the director gives none.
pub type AvailabilityZone = Option<String>;

/// What runs on one VM: an instance of the director that has an address. It may expose ports or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Instance uuid.
    pub id: String,
    /// Deployment.
    pub deployment: String,
    /// Instance group as written in the manifest. For a VM that no manifest names, such as one that compiles packages,
    /// the name that the director gives.
    pub group: String,
    /// Its addresses, in the director's order. No other workload has one of them.
    pub addresses: Vec<NetworkAddress>,
    /// Agent id of its VM: another one means another VM. `None` when the director does not say.
    pub agent_id: Option<String>,
    /// Availability zone.
    pub az: AvailabilityZone,
    /// Names of its jobs, as written, in order.
    pub jobs: Vec<String>,
}

/// An address in a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetworkAddress {
    /// The address.
    pub address: Address,
    /// The network's name as written in the manifest; `None` when it is not known.
    pub network: Option<String>,
}
