//! A director with deployments of [`GROUPS`] groups, each of which is a service.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;
use boshy_lab_director::{EmbeddedDirector, EmbeddedSettings, Handle, World};

/// Services of a deployment.
pub(crate) const GROUPS: usize = 20;
/// Instances of a service.
const INSTANCES: u32 = 3;
/// What a pilot asks for in order to read what has changed.
const READINGS: [&str; 3] = ["GET /deployments", "GET /deployments/:name", "GET /deployments/:name/instances"];
const CLOUD_CONFIG: &str = "\
azs: [{name: z1}]
vm_types: [{name: default}]
networks:
- name: default
  type: manual
  subnets: [{range: 10.64.0.0/10, gateway: 10.64.0.1, azs: [z1]}]
compilation: {workers: 1, az: z1, network: default, vm_type: default}
";

/// See the module's documentation.
pub(crate) struct Site {
    pub(crate) director: Handle,
    /// Instances of each group of each deployment.
    deployments: Vec<Vec<u32>>,
}

impl Site {
    /// # Errors
    /// When the director does not start.
    pub(crate) fn with(services: usize) -> anyhow::Result<Self> {
        let world = World::new(CLOUD_CONFIG, true, 1)?;
        let listener = TcpListener::bind("127.0.0.1:0").context("listen for the pilot")?;
        let director = EmbeddedDirector::start(listener, EmbeddedSettings::default(), world)?;
        let all: Vec<u32> = vec![INSTANCES; services];
        let site = Self { director, deployments: all.chunks(GROUPS).map(<[u32]>::to_vec).collect() };
        (0..site.deployments.len()).try_for_each(|number| site.deploy(number))?;
        Ok(site)
    }

    pub(crate) fn services(&self) -> usize {
        self.deployments.iter().map(Vec::len).sum()
    }

    /// The first addresses: first of instances, then of VMs that provide no service.
    pub(crate) fn addresses(&self, count: usize) -> Vec<Ipv4Addr> {
        let others = (0..).map(|number| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 1)) + number));
        let view = self.director.subscribe().borrow().clone();
        let instances = view.deployments.iter().flat_map(|deployment| &deployment.instances);
        let of_instances = instances.filter_map(|instance| Some(instance.networks.first()?.1));
        of_instances.chain(others).take(count).collect()
    }

    /// One instance more, of the first service.
    pub(crate) fn grows(&mut self) -> anyhow::Result<()> {
        self.deployments[0][0] += 1;
        self.deploy(0)
    }

    /// The host of the service that grows.
    pub(crate) fn growing_host() -> String {
        host(0, 0)
    }

    /// One service more, in the first deployment.
    pub(crate) fn gains_a_service(&mut self) -> anyhow::Result<()> {
        self.deployments[0].push(INSTANCES);
        self.deploy(0)
    }

    /// The host of the next service.
    pub(crate) fn next_host(&self) -> String {
        host(0, self.deployments[0].len())
    }

    /// The hosts of the last deployment.
    pub(crate) fn last_hosts(&self) -> Vec<String> {
        let number = self.deployments.len() - 1;
        (0..self.deployments[number].len()).map(|group| host(number, group)).collect()
    }

    /// The last deployment is deleted.
    pub(crate) fn loses_a_deployment(&mut self) -> anyhow::Result<()> {
        self.deployments.pop();
        self.director.delete(&name(self.deployments.len()))?;
        Ok(())
    }

    /// How often a pilot has read something that had changed.
    pub(crate) fn readings(&self) -> u64 {
        let requests = self.director.requests();
        READINGS.iter().filter_map(|route| requests.get(route)).sum()
    }

    /// How often a pilot has looked whether anything had changed.
    pub(crate) fn looks(&self) -> u64 {
        self.director.requests().get("GET /deployments").copied().unwrap_or_default()
    }

    fn deploy(&self, number: usize) -> anyhow::Result<()> {
        let manifest = manifest(&name(number), &self.deployments[number]);
        self.director.deploy(&manifest)?;
        Ok(())
    }
}

fn name(deployment: usize) -> String {
    // Names are in the order of numbers.
    format!("d{deployment:04}")
}

fn host(deployment: usize, group: usize) -> String {
    format!("app.g{group}.{}.boshy", name(deployment))
}

fn manifest(name: &str, groups: &[u32]) -> String {
    let head = format!("name: {name}\nreleases: []\nstemcells: []\ninstance_groups:\n");
    let group = |(number, instances): (usize, &u32)| {
        format!(
            "- {{name: g{number}, azs: [z1], instances: {instances}, networks: [{{name: default}}], \
             jobs: [{{name: app, release: sample, expose_ports: [{{name: http, number: 8080}}]}}]}}\n"
        )
    };
    groups.iter().enumerate().map(group).fold(head, |text, group| text + &group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_its_services_and_changes_as_told() {
        let mut site = Site::with(45).unwrap();
        assert_eq!((site.deployments.len(), site.services()), (3, 45));
        let addresses = site.addresses(45 * 3 + 2);
        assert_eq!(addresses[135..], [Ipv4Addr::new(10, 128, 0, 1), Ipv4Addr::new(10, 128, 0, 2)]);
        site.grows().unwrap();
        assert!(site.addresses(136)[135] < Ipv4Addr::new(10, 128, 0, 0), "an instance's, like all before");
        assert_eq!(site.next_host(), "app.g20.d0000.boshy");
        site.gains_a_service().unwrap();
        assert_eq!(site.last_hosts().len(), 5);
        site.loses_a_deployment().unwrap();
        assert_eq!(site.services(), 41);
        assert_eq!(site.director.subscribe().borrow().deployments.len(), 2);
    }
}
