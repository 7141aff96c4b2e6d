//! The VMs that should be there, as the director says.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use boshy_director::embedded::{DeploymentView, WorldView};

use crate::{
    manifest::{ManifestJob, jobs_by_group},
    name::InstanceName,
};

/// A VM, as the director wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmFacts {
    /// Deployment, group and index.
    pub name: InstanceName,
    /// Instance uuid.
    pub id: String,
    /// Availability zone; empty when the group names none.
    pub az: String,
    /// Address on the lab's network.
    pub ip: Ipv4Addr,
    /// The group's jobs, as the manifest has them.
    pub jobs: Vec<ManifestJob>,
}

/// What should be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) vms: BTreeMap<InstanceName, VmFacts>,
    /// Why a deployment has no VMs.
    pub(crate) problems: Vec<String>,
}

impl Wanted {
    /// Instances that expect a VM. A deployment that cannot be had in the lab costs the others nothing.
    pub(crate) fn new(view: &WorldView) -> Self {
        let mut wanted = Self::default();
        for deployment in &view.deployments {
            match vms(deployment) {
                Ok(vms) => wanted.vms.extend(vms.into_iter().map(|vm| (vm.name.clone(), vm))),
                Err(reason) => wanted.problems.push(format!("deployment {}: {reason}", deployment.name)),
            }
        }
        wanted
    }
}

fn vms(deployment: &DeploymentView) -> Result<Vec<VmFacts>, String> {
    let manifest = deployment.manifest.as_deref().unwrap_or("{}");
    let jobs = jobs_by_group(manifest).map_err(|error| error.chain())?;
    let instances = deployment.instances.iter().filter(|instance| instance.expects_vm());
    instances
        .map(|instance| {
            let name = InstanceName {
                deployment: deployment.name.clone(),
                group: instance.group.clone(),
                index: instance.index,
            };
            for part in [&name.deployment, &name.group] {
                check_directory(part)?;
            }
            let ip = instance.ips().into_iter().find_map(|ip| match ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            });
            Ok(VmFacts {
                id: instance.id.clone(),
                az: instance.az.clone().unwrap_or_default(),
                ip: ip.ok_or_else(|| format!("{} has no IPv4 address", name.short()))?,
                jobs: jobs.get(&name.group).cloned().unwrap_or_default(),
                name,
            })
        })
        .collect()
}

/// Names of deployments, groups and jobs become names of directories.
pub(crate) fn check_directory(name: &str) -> Result<(), String> {
    let safe = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if safe && !name.is_empty() && !name.starts_with('.') {
        Ok(())
    } else {
        Err(format!("the lab cannot keep files under the name {name:?}; use letters, digits, - and _"))
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
