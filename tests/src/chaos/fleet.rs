//! The VMs and services that chaos befalls.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A VM, which is also the instance that runs on it: `GROUP/INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vm {
    /// Name of its instance group.
    pub group: &'static str,
    /// Its index in the group.
    pub index: usize,
}

impl fmt::Display for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group, self.index)
    }
}

/// The VM of the pilot.
pub const PILOT: Vm = Vm { group: "bosh-pilot", index: 0 };

/// The VMs with callers and instances. Each service has two instances.
pub const FLEET: [Vm; 6] = [
    Vm { group: "apricot", index: 0 },
    Vm { group: "apricot", index: 1 },
    Vm { group: "banana", index: 0 },
    Vm { group: "banana", index: 1 },
    Vm { group: "cherry", index: 0 },
    Vm { group: "cherry", index: 1 },
];

/// The group that sometimes takes the place of `cherry`. It has the same port, and its name's first choice of a virtual
/// IP is the same: without the rest of released addresses, it would get the address of `cherry`.
pub const TWIN: &str = "cherry-87";

/// Host name of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Host(pub String);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A service that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The group whose instances may answer.
    pub group: &'static str,
    /// Its deployment.
    pub deployment: &'static str,
    /// The exposed port.
    pub port: u16,
}

impl Target {
    /// All services, also the one that is there at times only.
    pub const ALL: [Self; 4] = [
        Self { group: "apricot", deployment: "sample-deployment", port: 9001 },
        Self { group: "banana", deployment: "sample-deployment", port: 9002 },
        Self { group: "cherry", deployment: "orchard", port: 9003 },
        Self { group: TWIN, deployment: "orchard", port: 9003 },
    ];

    /// Its host name.
    pub fn host(&self) -> Host {
        Host(format!("example-httpbin.{}.{}.boshy", self.group, self.deployment))
    }

    /// The service with a host name.
    pub fn of(host: &Host) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.host() == *host)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::Ipv4Addr};

    use boshy_mesh::{Claim, Claims, Hostname, LeaseRules, Leases, Moment, Origin, VipRange, VipShare};

    use super::*;

    #[test]
    fn the_twin_of_cherry_would_get_its_address() {
        let [.., cherry, twin] = Target::ALL.map(|target| first_choice(&target));
        assert_eq!(cherry, twin);
    }

    /// The address of a service in an empty table.
    fn first_choice(target: &Target) -> Option<Ipv4Addr> {
        let host = Hostname::parse(&target.host().0).unwrap();
        let owner = Origin {
            deployment: target.deployment.to_owned(),
            group: target.group.to_owned(),
            job: "example-httpbin".to_owned(),
        };
        let claims = Claims::from([(host.clone(), vec![Claim { owner, formerly: Vec::new() }])]);
        let rules = LeaseRules {
            range: VipRange::default(),
            quarantine: std::time::Duration::from_secs(3600),
            share: VipShare::percent(100).unwrap(),
        };
        Leases::default().reconcile(&claims, &rules, Moment(0), &BTreeSet::new()).leases.vip(&host)
    }
}
