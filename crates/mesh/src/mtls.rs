//! Mutual TLS: which connections are encrypted, and which are accepted without it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{Authorization, Hostname, MtlsMode, Origin, Policies, Port, Service, SpiffeId, TrustDomain};

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

/// What an operator wants of the mesh beside what the director's deployments say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshRules {
    /// Rules of mutual TLS. `None` when the mesh has no certificate authority: nothing is encrypted then.
    pub mtls: Option<MtlsRules>,
    /// What the director's configs say.
    pub policies: Policies,
}

/// Rules of mutual TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MtlsRules {
    /// Trust domain of the certificates.
    pub domain: TrustDomain,
    /// Mode of each port for which nothing else is said.
    pub mode: MtlsMode,
    /// Ids of the instances whose proxies serve [`MESH_PORT`].
    pub able: Arc<BTreeSet<String>>,
    /// Services that were tunnelled before, also by an earlier process. A service does not return to plaintext because
    /// an instance is not able for a while.
    pub tunnelled: Arc<BTreeSet<Hostname>>,
}

impl MeshRules {
    /// The mode of a port of a service. A service whose names cannot be written in an identity cannot have a
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
        match self.mode(service, port) {
            MtlsMode::Disable => None,
            MtlsMode::Permissive | MtlsMode::Strict => self.policies.authorization(&service.origin, port.number),
        }
    }

    /// How callers reach a service.
    pub(crate) fn tunnel(&self, service: &Service) -> Option<Tunnel> {
        let rules = self.mtls.as_ref()?;
        let able = rules.tunnelled.contains(&service.host) || rules.are_able(service);
        let is_tunnelled = |port: &&Port| match self.mode(service, port) {
            MtlsMode::Disable => false,
            MtlsMode::Permissive => able,
            MtlsMode::Strict => true,
        };
        let is_strict = |port: &&Port| self.mode(service, port) == MtlsMode::Strict;
        let ports: BTreeSet<_> = service.ports.iter().filter(is_tunnelled).map(|port| port.number).collect();
        let strict = service.ports.iter().filter(is_strict).map(|port| port.number).collect();
        (!ports.is_empty()).then(|| Tunnel { domain: rules.domain.clone(), ports, strict })
    }
}

impl MtlsRules {
    fn are_able(&self, service: &Service) -> bool {
        let mut endpoints = service.endpoints.iter().peekable();
        endpoints.peek().is_some() && endpoints.all(|endpoint| self.able.contains(&endpoint.workload.id))
    }
}

/// Port of each VM's Envoy for mutual TLS. Istio's ambient mode uses the same.
pub const MESH_PORT: u16 = 15008;
