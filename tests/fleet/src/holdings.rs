//! What the agents of a fleet hold.
//!
//! Nearly all of it is the same for all: it is kept once, as the first agent was told it. Its VM provides no service, so
//! it is told nothing that is its own. What another agent is told beside is that agent's own.

use std::collections::{BTreeMap, HashSet};

use boshy_mesh::NodeId;
use boshy_xds::{
    Digest, ResourceType,
    names::Name,
    session::client::{DeltaClient, MARK, RequestToPilot, ResponseFromPilot},
};
use bytes::Bytes;
use prost::Message;

use crate::wire::{HeldVersion, Node, OwnPart, Response, framed};

/// The agent whose VM provides no service.
pub(crate) const WITNESS: usize = 0;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    shared: DeltaClient,
    names: HashSet<(ResourceType, Bytes)>,
    own: Vec<BTreeMap<(ResourceType, Bytes), Bytes>>,
}

/// How agents open their streams: by the requests that all of them send, by type.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    requests: Vec<(ResourceType, Vec<u8>)>,
    /// What all of them hold, where they hold something.
    digests: Option<Vec<(ResourceType, Digest)>>,
}

impl Holdings {
    pub(crate) fn of(agents: usize) -> Self {
        Self { own: vec![BTreeMap::new(); agents], ..Self::default() }
    }

    /// Agents that hold nothing.
    pub(crate) fn opening() -> Opening {
        Opening { requests: requests(&DeltaClient::default()), digests: None }
    }

    /// Agents that hold what they were told.
    pub(crate) fn resuming(&self) -> Opening {
        let digests = ResourceType::OF_PILOTS.map(|kind| (kind, Digest::of(self.shared.held(kind))));
        Opening { requests: requests(&self.shared), digests: Some(digests.into()) }
    }

    /// The first messages of one agent's stream, to a pilot that reads digests or to another one.
    pub(crate) fn first_messages(
        &self,
        opening: &Opening,
        agent: usize,
        node: &NodeId,
        reads_digests: bool,
    ) -> Vec<Bytes> {
        match &opening.digests {
            Some(digests) if reads_digests => self.claims(digests, agent, node),
            resumed => self.lists(&opening.requests, resumed.is_some(), agent, node),
        }
    }

    fn lists(&self, requests: &[(ResourceType, Vec<u8>)], resumed: bool, agent: usize, node: &NodeId) -> Vec<Bytes> {
        let mut node = Some(Node { id: node.as_str().to_owned() });
        let message = |(kind, shared): &(ResourceType, Vec<u8>)| {
            let held = self.own(agent, *kind).filter(|_| resumed);
            let held = held.map(|(name, version)| HeldVersion { name: name.clone(), version: version.clone() });
            let own = OwnPart { node: node.take(), held: held.collect() };
            framed(&[shared, &own.encode_to_vec()])
        };
        requests.iter().map(message).collect()
    }

    /// A pilot that believes a digest says nothing. So the agent asks for something more, whose answer comes after all
    /// that it lacks.
    fn claims(&self, digests: &[(ResourceType, Digest)], agent: usize, node: &NodeId) -> Vec<Bytes> {
        let claim = |(kind, shared): &(ResourceType, Digest)| {
            let text = |octets| str::from_utf8(octets).unwrap_or_default();
            let digest =
                self.own(agent, *kind).fold(*shared, |sum, (name, version)| sum.with(text(name), text(version)));
            RequestToPilot::Claim { kind: *kind, digest }
        };
        let end = RequestToPilot::Resend { kind: ResourceType::Listener, names: vec![MARK.into()] };
        let requests = digests.iter().map(claim).chain([end]).enumerate();
        requests.map(|(place, one)| framed(&[&one.into_wire((place == 0).then_some(node)).encode_to_vec()])).collect()
    }

    /// What a pilot is told that asks an agent what it holds of a type.
    pub(crate) fn told(&self, agent: usize, kind: ResourceType, nonce: &str) -> Bytes {
        let shared = self.shared.tell(kind, nonce.to_owned(), |_, _| false).into_wire(None).encode_to_vec();
        let held = self.own(agent, kind);
        let held = held.map(|(name, version)| HeldVersion { name: name.clone(), version: version.clone() });
        framed(&[&shared, &OwnPart { node: None, held: held.collect() }.encode_to_vec()])
    }

    /// Names and versions that only this agent holds.
    fn own(&self, agent: usize, kind: ResourceType) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let own = self.own[agent].iter().filter(move |(name, _)| name.0 == kind && !self.names.contains(name));
        own.map(|((_, name), version)| (name, version))
    }

    /// An agent was told this.
    ///
    /// # Errors
    /// When an agent would refuse it.
    pub(crate) fn take(
        &mut self,
        agent: usize,
        kind: ResourceType,
        heard: &Response,
        octets: &[u8],
    ) -> anyhow::Result<()> {
        if agent == WITNESS {
            self.shared.on_response(ResponseFromPilot::decode(octets)?)?;
            self.names.extend(heard.resources.iter().map(|resource| (kind, resource.name.clone())));
            for name in &heard.removed {
                self.names.remove(&(kind, name.clone()));
            }
            return Ok(());
        }
        let own = &mut self.own[agent];
        for resource in &heard.resources {
            let name = (kind, resource.name.clone());
            if !self.names.contains(&name) {
                // A copy of its own: the octets are part of a whole response.
                let copy = |octets: &Bytes| Bytes::copy_from_slice(octets);
                own.insert((kind, copy(&name.1)), copy(&resource.version));
            }
        }
        for name in &heard.removed {
            own.remove(&(kind, name.clone()));
        }
        Ok(())
    }

    /// The resources that belong to a host name, by the resource of the name.
    pub(crate) fn of_host(&self, host: &str) -> Option<Vec<(ResourceType, Bytes)>> {
        let resource = self.shared.held(ResourceType::Names).get(host)?;
        let needs = Name::decode(&resource.body).ok()?.needs?;
        let named = |kind, names: &[_]| -> Vec<_> {
            names.iter().map(|name: &std::sync::Arc<str>| (kind, Bytes::copy_from_slice(name.as_bytes()))).collect()
        };
        let clusters = [ResourceType::Cluster, ResourceType::Endpoints].map(|kind| named(kind, &needs.clusters));
        let mut all = clusters.concat();
        all.extend(named(ResourceType::Listener, &needs.listeners));
        all.push((ResourceType::Names, Bytes::copy_from_slice(host.as_bytes())));
        Some(all)
    }
}

fn requests(client: &DeltaClient) -> Vec<(ResourceType, Vec<u8>)> {
    let subscriptions = client.subscribe(false, |_, _| false).into_iter();
    // In the order of the types, one for each.
    ResourceType::OF_PILOTS.into_iter().zip(subscriptions.map(|one| one.into_wire(None).encode_to_vec())).collect()
}
