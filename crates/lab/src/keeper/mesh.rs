//! What the mesh should know by its own rules, and what it knows.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use boshy_director::manifest;
use boshy_lab_director::{DeploymentView, WorldView};
use boshy_mesh::{Deployment, Instance, Inventory, Service, Tld, VipRange, Workloads, discover};
use boshy_yaml::Limits;
use serde::Deserialize;

use super::machines::Machines;
use crate::protocol::ServiceStatus;

/// Name of the pilot's job.
pub(super) const PILOT_JOB: &str = "bosh-pilot";
/// The pilot's HTTP port.
pub(super) const PILOT_PORT: u16 = 8080;
/// Name of the agent's job, which every VM of the mesh has.
pub(super) const AGENT_JOB: &str = "virtual-ip-agent";
/// The agent's port for operators.
pub(super) const AGENT_PORT: u16 = 15020;

/// The services of the deployments. A deployment that the mesh rejects has none.
pub(super) fn expected(view: &WorldView) -> Vec<Service> {
    let deployments = view.deployments.iter().filter_map(checked).collect();
    let inventory = Inventory { deployments, ..Inventory::default() };
    let found = discover(&inventory, &Tld::default(), VipRange::default(), &Workloads::default());
    found.services.into_values().filter_map(|claimants| claimants.into_iter().next()).collect()
}

fn checked(view: &DeploymentView) -> Option<Deployment> {
    let written = manifest::read(&view.name, view.manifest.as_deref()?, &Limits::default()).ok()?;
    let instance = |instance: &boshy_lab_director::Instance| Instance {
        group: instance.group.clone(),
        index: Some(instance.index),
        id: instance.id.clone(),
        az: instance.az.clone(),
        ips: instance.ips().into_iter().map(Into::into).collect(),
        expects_vm: instance.expects_vm(),
        ..Instance::default()
    };
    let instances = view.instances.iter().map(instance).collect();
    Some(Deployment { name: view.name.clone(), groups: written.check().ok()?, instances, ..Deployment::default() })
}

/// The relevant part of the pilot's `/status`.
#[derive(Deserialize)]
struct PilotReport {
    services: Vec<PilotService>,
}

#[derive(Deserialize)]
struct PilotService {
    host: String,
    vip: IpAddr,
    ports: Vec<PilotPort>,
    endpoints: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct PilotPort {
    number: u16,
}

/// The relevant part of an agent's `/status`.
#[derive(Deserialize)]
struct AgentReport {
    names: AgentNames,
}

#[derive(Deserialize)]
struct AgentNames {
    answered: BTreeMap<String, Ipv4Addr>,
}

/// What is missing in the pilot's `/status`.
pub(super) fn pilot_lacks(report: &str, expected: &[Service]) -> Option<String> {
    let report: PilotReport = match serde_json::from_str(report) {
        Ok(report) => report,
        Err(error) => return Some(format!("its /status cannot be read: {error}")),
    };
    expected.iter().find_map(|service| {
        let (host, of) = (service.host.as_str(), service.endpoints.len());
        match report.services.iter().find(|known| known.host == host) {
            None => Some(format!("the pilot does not know {host} yet")),
            Some(known) if known.endpoints.len() != of => {
                Some(format!("the pilot knows {} of {of} instances of {host}", known.endpoints.len()))
            }
            Some(_) => None,
        }
    })
}

/// What is missing in an agent's `/status`.
pub(super) fn agent_lacks(report: &str, expected: &[Service]) -> Option<String> {
    let report: AgentReport = match serde_json::from_str(report) {
        Ok(report) => report,
        Err(error) => return Some(format!("its /status cannot be read: {error}")),
    };
    let missing = expected.iter().find(|service| !report.names.answered.contains_key(service.host.as_str()))?;
    Some(format!("{} is not answered yet", missing.host))
}

/// The services by the pilot's status; empty while it does not answer.
pub(super) async fn services(machines: &Arc<Machines>) -> Vec<ServiceStatus> {
    let pilots = machines.fleet.all().into_iter().filter(|member| member.jobs.contains(PILOT_JOB));
    for pilot in pilots.filter_map(|member| member.vm) {
        if let Ok((200, body)) = pilot.get(PILOT_PORT, "/status").await
            && let Ok(report) = serde_json::from_str::<PilotReport>(&body)
        {
            return report.services.into_iter().map(service).collect();
        }
    }
    Vec::new()
}

fn service(known: PilotService) -> ServiceStatus {
    ServiceStatus {
        hostname: known.host,
        vip: known.vip,
        ports: known.ports.iter().map(|port| port.number).collect(),
        instances: known.endpoints.len(),
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;
