//! The one right state, and whether every node has it.

use std::collections::{BTreeMap, BTreeSet};

use boshy_tests::chaos::{FLEET, Scene, TWIN, Target, Vm};
use serde_json::Value;

use crate::driver::Lab;

/// The port of tunnels.
const TUNNELS: u16 = 15_008;

/// What every node should have while no fault is in progress.
pub(super) struct Settled {
    scene: Scene,
    vips: BTreeMap<String, String>,
    endpoints: BTreeMap<String, BTreeSet<String>>,
}

/// The services that are there between two rounds.
fn services() -> impl Iterator<Item = Target> {
    Target::ALL.into_iter().filter(|target| target.group != TWIN)
}

impl Settled {
    /// The virtual IPs of the beginning, and the endpoints by the addresses that the VMs have now.
    pub(super) fn of(lab: &Lab, scene: Scene, vips: &BTreeMap<String, String>) -> Self {
        let status = lab.status();
        let endpoints = services().map(|target| {
            let vms = status["vms"].as_array().unwrap().iter();
            let of_group = vms.filter(|vm| vm["group"] == target.group && vm["deployment"] == target.deployment);
            let port = if scene.tunnels { TUNNELS } else { target.port };
            let addresses = of_group.map(|vm| format!("{}:{port}", vm["ip"].as_str().unwrap()));
            (target.host().0, addresses.collect())
        });
        Self { scene, vips: vips.clone(), endpoints: endpoints.collect() }
    }

    /// The first thing that is not as it should be.
    pub(super) fn lacks(&self, lab: &Lab) -> Option<String> {
        let pilots = self.scene.pilots().iter();
        pilots
            .copied()
            .find_map(|pilot| self.pilot_lacks(lab, pilot))
            .or_else(|| FLEET.into_iter().find_map(|vm| self.vm_lacks(lab, vm)))
    }

    fn pilot_lacks(&self, lab: &Lab, vm: Vm) -> Option<String> {
        let pilot = lab.get(&vm.to_string(), "/status").unwrap_or_default();
        let lacking = pilot["lacking"].as_array().into_iter().flatten();
        if let Some(lack) = lacking.into_iter().find(|lack| lack["what"] == "shared_leases") {
            return Some(format!("{vm} does not agree: {lack}"));
        }
        let vips: BTreeMap<String, String> = table(&pilot["services"], |service| {
            Some((service["host"].as_str()?.to_owned(), service["vip"].as_str()?.to_owned()))
        });
        (vips != self.vips).then(|| format!("{vm} has the addresses {vips:?} instead of {:?}", self.vips))
    }

    fn vm_lacks(&self, lab: &Lab, vm: Vm) -> Option<String> {
        let name = vm.to_string();
        let agent = lab.get(&name, "/status").unwrap_or_default();
        let answered: BTreeMap<String, String> =
            agent["names"]["answered"].as_object().map_or_else(BTreeMap::new, |names| {
                names.iter().filter_map(|(host, vip)| Some((host.clone(), vip.as_str()?.to_owned()))).collect()
            });
        if answered != self.vips {
            return Some(format!("{vm} answers {answered:?} instead of {:?}", self.vips));
        }
        if agent["ready"] != true || agent["envoy"]["refusing"] != 0 || agent["pilot"]["connected_since"].is_null() {
            let of = |key: &str| agent[key].to_string();
            return Some(format!(
                "{vm} is not ready: {}, pilot {}, envoy {}, lacking {}",
                of("ready_reason"),
                of("pilot"),
                agent["envoy"]["refusing"],
                of("lacking")
            ));
        }
        self.endpoints.iter().find_map(|(host, wanted)| {
            let has = lab.endpoints(&name, host);
            (has != *wanted).then(|| format!("the Envoy of {vm} has {has:?} of {host} instead of {wanted:?}"))
        })
    }
}

fn table<K: Ord, V>(list: &Value, pair: impl Fn(&Value) -> Option<(K, V)>) -> BTreeMap<K, V> {
    list.as_array().into_iter().flatten().filter_map(pair).collect()
}
