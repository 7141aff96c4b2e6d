//! What the mesh of a run is like.

use super::{PILOT, Vm};

/// All pilots, where there are several.
const PILOTS: [Vm; 3] = [PILOT, Vm { group: PILOT.group, index: 1 }, Vm { group: PILOT.group, index: 2 }];
/// Ports of the agent that another program may take, and those of Envoy and its parent.
const AGENT_PORTS: [u16; 2] = [15_053, 15_020];
const PORTS: [u16; 4] = [15_053, 15_020, 15_001, 8_001];
/// Jumps of a clock, in seconds. Certificates are good for clocks that are ten minutes apart, so with them two that jump
/// in opposite directions still agree.
const JUMPS: [i64; 6] = [600, -600, 7200, -7200, 86_400, -86_400];
const SMALL_JUMPS: [i64; 2] = [300, -300];

/// What the mesh is like beside its services; by default as an operator first has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// Three pilots share one table of virtual IPs, which is a config of the director.
    pub several_pilots: bool,
    /// Services are reached over mutual TLS.
    pub tunnels: bool,
}

impl Scene {
    /// The scene after these ops files of `manifests/operations` were applied.
    pub fn after<'a>(operations: impl IntoIterator<Item = &'a str>) -> Self {
        operations.into_iter().fold(Self::default(), |scene, operation| Self {
            several_pilots: scene.several_pilots || operation == "several-pilots",
            tunnels: scene.tunnels || operation.starts_with("mtls-"),
        })
    }

    /// The VMs of the pilots.
    pub fn pilots(self) -> &'static [Vm] {
        if self.several_pilots { &PILOTS } else { &PILOTS[..1] }
    }

    /// The ports of a VM that another program may take. To do so it waits until their process has stopped, which costs
    /// the VM's instance its callers when that process is the end of their tunnels.
    pub fn ports(self) -> &'static [u16] {
        if self.tunnels { &AGENT_PORTS } else { &PORTS }
    }

    /// The seconds by which the wall clock of a VM may jump at no cost.
    pub fn jumps(self) -> &'static [i64] {
        if self.tunnels { &SMALL_JUMPS } else { &JUMPS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_is_what_its_ops_files_make_of_it() {
        assert_eq!(Scene::after([]), Scene { several_pilots: false, tunnels: false });
        let all = Scene::after(["several-pilots", "identities", "mtls-strict"]);
        assert_eq!(all, Scene { several_pilots: true, tunnels: true });
        assert_eq!((all.pilots().len(), Scene::after(["identities"])), (3, Scene::default()));
    }
}
