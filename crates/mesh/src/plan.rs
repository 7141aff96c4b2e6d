//! Plans: what the resources of a service and of a workload are made of.
//!
//! A plan joins facts of the director, leases, and whatever rules apply, so that its resources are a function of the
//! plan alone. A reader keeps what it made of a plan as long as it meets the same pointer. A rule that comes later
//! becomes a field of the plan that it applies to, and is joined in `join`: the hash and the sharing follow from the
//! derived traits, and only the function that makes resources of the plan has to know the field.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
};

use crate::{
    Authorization, Endpoint, Hostname, Ingress, MtlsMode, Protocol, Service, ServiceKey, Shared, Tunnel, Workload,
};

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
    /// Ids of the instances that callers do not get, because they are about to stop. They stay endpoints of the service
    /// and serve whoever is connected.
    pub withdrawn: BTreeSet<String>,
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
    /// Who may connect in plaintext, where Envoy accepts that ([`ingress`](Self::ingress)); `None` for everybody. Of two
    /// services with one port number the policies of both apply.
    pub plaintext: Option<Shared<Authorization>>,
    /// How connections from outside of the mesh reach it; `None` for directly. Never with [`MtlsMode::Strict`], because
    /// there are none.
    pub ingress: Option<Ingress>,
}

impl ServicePlan {
    /// Name of the service.
    pub fn host(&self) -> &Hostname {
        &self.service.host
    }

    /// The instances that callers get.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.service.endpoints.iter().filter(|endpoint| !self.withdrawn.contains(&endpoint.workload.id))
    }

    /// Its keys, one per port.
    pub fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        self.service.ports.iter().map(|port| ServiceKey::new(&self.service.host, &port.name))
    }
}
