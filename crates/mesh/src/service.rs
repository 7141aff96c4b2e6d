//! Services, and the workloads behind them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Hostname, Place, Port, Shared, Workload};

/// Where a service comes from, as written in the manifest. It distinguishes services that share one name in the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Deployment.
    pub deployment: String,
    /// Instance group.
    pub group: String,
    /// Job.
    pub job: String,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address at which the workload is reached.
    pub ip: IpAddr,
    /// The workload behind it.
    pub workload: Shared<Workload>,
}

/// A service without its virtual IP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its name.
    pub host: Hostname,
    /// Where the service is declared.
    pub origin: Origin,
    /// Exposed ports, in the order written; never empty.
    pub ports: Vec<Port>,
    /// Instances, in order of their index.
    pub endpoints: Vec<Endpoint>,
}

impl Origin {
    /// The place in the manifest.
    pub fn place(&self) -> Place {
        Place::deployment(&self.deployment).group(&self.group).job(&self.job)
    }
}
