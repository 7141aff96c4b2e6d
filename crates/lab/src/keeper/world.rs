//! The director, as the keeper uses it.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use tokio::sync::watch;

use crate::{
    error::LabError, facts::VmFacts, job_config::DirectorAccess, manifest, name::InstanceName, state_dir::StateDir,
};

/// The VMs that should be there.
pub(super) type Wanted = BTreeMap<InstanceName, VmFacts>;

pub(super) struct World {
    wanted: watch::Sender<Arc<Wanted>>,
}

impl World {
    pub(super) fn start(_state: &StateDir) -> Result<Self, LabError> {
        Ok(Self { wanted: watch::Sender::new(Arc::default()) })
    }

    pub(super) fn view(&self) -> watch::Receiver<Arc<Wanted>> {
        self.wanted.subscribe()
    }

    pub(super) fn access(&self) -> DirectorAccess {
        DirectorAccess { url: String::new(), ca_pem: String::new(), username: String::new(), password: String::new() }
    }

    pub(super) async fn deploy(&self, manifest: &str) -> Result<String, LabError> {
        #[derive(serde::Deserialize)]
        struct M {
            name: String,
            instance_groups: Vec<G>,
        }
        #[derive(serde::Deserialize)]
        struct G {
            name: String,
            instances: u32,
        }
        let m: M = serde_saphyr::from_str(manifest).map_err(|e| LabError::Refused(e.to_string()))?;
        let jobs = manifest::jobs_by_group(manifest)?;
        let mut wanted = Wanted::clone(&self.wanted.borrow());
        wanted.retain(|n, _| n.deployment != m.name);
        for g in m.instance_groups {
            for index in 0..g.instances {
                let ip = (126u8..)
                    .map(|n| Ipv4Addr::new(10, 244, 0, n))
                    .find(|ip| wanted.values().all(|v| v.ip != *ip))
                    .unwrap();
                let name = InstanceName { deployment: m.name.clone(), group: g.name.clone(), index };
                let id = format!("id-{}-{index}", g.name);
                wanted.insert(name.clone(), VmFacts { name, id, az: "z1".into(), ip, jobs: jobs[&g.name].clone() });
            }
        }
        self.wanted.send_replace(Arc::new(wanted));
        Ok(m.name)
    }

    pub(super) async fn delete(&self, deployment: &str) -> Result<(), LabError> {
        let mut wanted = Wanted::clone(&self.wanted.borrow());
        wanted.retain(|n, _| n.deployment != deployment);
        self.wanted.send_replace(Arc::new(wanted));
        Ok(())
    }
}
