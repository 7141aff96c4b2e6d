//! Mutual TLS: which connections are encrypted, and which are accepted without it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{Authorization, MtlsMode, Origin, Policies, Port, Service, SpiffeId, Stage, Stages, TrustDomain};

/// How callers in the mesh reach a service: by HTTP/2 CONNECT over mutual TLS to [`MESH_PORT`] of the instance's VM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Trust domain of the instances' certificates.
    pub domain: TrustDomain,
    /// The ports, by number, that are reached so. A service may have others, which are reached directly.
    pub ports: BTreeSet<u16>,
    /// Those of the ports that are reached no other way: a caller without a certificate does not reach them.
    pub strict: BTreeSet<u16>,
}

/// What decides about the mesh beside what the director's deployments say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshRules {
    /// Rules of mutual TLS. `None` when the mesh has no certificate authority: nothing is encrypted then.
    pub mtls: Option<MtlsRules>,
    /// What the director's configs say.
    pub policies: Policies,
    /// Ids of the instances whose VMs are about to stop, as their agents say.
    pub stopping: BTreeSet<String>,
}

/// Rules of mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MtlsRules {
    /// Trust domain of the certificates.
    pub domain: TrustDomain,
    /// Mode of each port for which nothing else is said.
    pub mode: MtlsMode,
    /// How far each port is on its way to its mode. A port that is not among them is where its mode begins.
    pub stages: Arc<Stages>,
}

impl MeshRules {
    /// The mode that a port of a service is to have. A service whose names cannot be written in an identity cannot have a
    /// certificate, so nothing of it is encrypted.
    pub fn mode(&self, service: &Service, port: &Port) -> MtlsMode {
        let Some(rules) = &self.mtls else { return MtlsMode::Disable };
        match SpiffeId::new(&rules.domain, &service.origin.deployment, &service.origin.group) {
            Ok(_) => self.wanted(&service.origin, port.number),
            Err(_) => MtlsMode::Disable,
        }
    }

    /// The mode that documents and settings give a port.
    pub(crate) fn wanted(&self, origin: &Origin, port: u16) -> MtlsMode {
        let default = self.mtls.as_ref().map_or(MtlsMode::Disable, |rules| rules.mode);
        self.policies.mode(origin, port).unwrap_or(default)
    }

    /// Who may connect to a port of a service over mutual TLS; `None` when every caller in the mesh may.
    pub(crate) fn authorization(&self, service: &Service, port: &Port) -> Option<Authorization> {
        match self.stage(service, port).mode() {
            MtlsMode::Disable => None,
            MtlsMode::Permissive | MtlsMode::Strict => self.policies.authorization(&service.origin, port.number),
        }
    }

    /// Who may connect to a port of a service in plaintext, as far as policies name addresses.
    pub(crate) fn plaintext(&self, service: &Service, port: &Port) -> Option<Authorization> {
        self.policies.authorization(&service.origin, port.number)?.by_address()
    }

    /// How far a port is on its way to its mode.
    pub(crate) fn stage(&self, service: &Service, port: &Port) -> Stage {
        let known = self.mtls.as_ref().and_then(|rules| rules.stages.get(&service.host, port.number));
        known.unwrap_or_else(|| Stage::first(self.mode(service, port)))
    }

    /// How callers reach a service.
    pub(crate) fn tunnel(&self, service: &Service) -> Option<Tunnel> {
        let rules = self.mtls.as_ref()?;
        let is_tunnelled = |port: &&Port| self.stage(service, port).is_tunnelled();
        let is_strict = |port: &&Port| self.stage(service, port) == Stage::Closed;
        let ports: BTreeSet<_> = service.ports.iter().filter(is_tunnelled).map(|port| port.number).collect();
        let strict = service.ports.iter().filter(is_strict).map(|port| port.number).collect();
        (!ports.is_empty()).then(|| Tunnel { domain: rules.domain.clone(), ports, strict })
    }
}

impl MtlsRules {
    /// Rules under which every port is where its mode begins.
    pub fn new(domain: TrustDomain, mode: MtlsMode) -> Self {
        Self { domain, mode, stages: Arc::default() }
    }
}

impl Service {
    /// Whether all its instances are among those that accept tunnels. One without instances has nobody to accept any.
    pub fn is_able(&self, able: &BTreeSet<String>) -> bool {
        !self.endpoints.is_empty() && self.endpoints.iter().all(|endpoint| able.contains(&endpoint.workload.id))
    }
}

/// Port of each VM's Envoy for mutual TLS. Istio's ambient mode uses the same.
pub const MESH_PORT: u16 = 15008;
