//! Plans: what the resources of a service and of a workload are made of.
//!
//! A plan joins facts of the director, leases, and whatever rules apply, so that its resources are a function of the
//! plan alone. A reader keeps what it made of a plan as long as it meets the same pointer. A rule that comes later
//! becomes a field of the plan that it applies to, and is joined in `join`: the hash and the sharing follow from the
//! derived traits, and only the function that makes resources of the plan has to know the field.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{Authorization, Hostname, MtlsMode, Protocol, Service, ServiceKey, Shared, Tunnel, Workload};

/// A service, joined with its virtual IP.
///
/// Rules for those who call the service, such as routes and retries, belong here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePlan {
    /// The service.
    pub service: Service,
    /// Its virtual IP.
    pub vip: Ipv4Addr,
    /// The ports that callers reach over mutual TLS; `None` when all are reached in plaintext.
    pub tunnel: Option<Tunnel>,
}

/// A workload, joined with the ports at which it is reached.
///
/// Rules for what arrives, such as who may connect and whether with a certificate, belong here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadPlan {
    /// The workload.
    pub workload: Shared<Workload>,
    /// Where services reach it, in order, each place once.
    pub inbound: Vec<InboundPort>,
}

/// A place at which a workload is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboundPort {
    /// Its address and an exposed port.
    pub at: SocketAddr,
    /// What is spoken there. Of two services with one port number the first by name decides.
    pub protocol: Protocol,
    /// What it accepts. Of two services with one port number the stricter mode applies.
    pub mode: MtlsMode,
    /// Who may connect over mutual TLS; `None` for every caller in the mesh. Of two services with one port number the
    /// policies of both apply.
    pub authorization: Option<Shared<Authorization>>,
}

impl ServicePlan {
    /// Name of the service.
    pub fn host(&self) -> &Hostname {
        &self.service.host
    }

    /// Its keys, one per port.
    pub fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        self.service.ports.iter().map(|port| ServiceKey::new(&self.service.host, &port.name))
    }
}
