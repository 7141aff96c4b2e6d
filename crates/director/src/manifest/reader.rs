//! What is collected while one document is read.

use std::collections::HashSet;

use boshy_mesh::{Place, Problem, WrittenPorts};
use boshy_yaml::Map;

use super::ports;

/// The key under which a job exposes ports.
pub(super) const EXPOSE_PORTS: &str = "expose_ports";

/// Parser of one manifest or one runtime config.
pub(super) struct Reader<'n> {
    /// Name of the deployment; empty for a config.
    pub(super) name: &'n str,
    pub(super) place: Place,
    /// The `expose_ports` keys that have an effect, by their node.
    pub(super) used: HashSet<u32>,
    pub(super) problems: Vec<Problem>,
}

impl Reader<'_> {
    /// The ports that a job exposes.
    pub(super) fn expose_ports(&mut self, job: Map<'_>) -> WrittenPorts {
        let Some(pair) = job.get(EXPOSE_PORTS) else { return WrittenPorts::Absent };
        self.used.insert(pair.key.node());
        ports::written(pair.value)
    }
}
