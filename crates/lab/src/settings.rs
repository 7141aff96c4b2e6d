//! What a lab is made with.

use std::path::PathBuf;

/// Settings of the lab.
#[derive(Clone, Debug)]
pub struct LabSettings {
    /// Path of the running program. It is process 1 of every namespace, and the boshy of a development release unless
    /// another is named.
    pub boshy: PathBuf,
}

/// Manifest of the control plane.
pub(crate) const MESH_MANIFEST: &str = include_str!("../../../manifests/bosh-istio-deployment.yml");

/// Runtime config for all other VMs.
pub(crate) const RUNTIME_CONFIG: &str = include_str!("../../../manifests/runtime-config.yml");

/// Manifest that `boshy lab up` deploys by default.
pub(crate) const SAMPLE_MANIFEST: &str = include_str!("../../../manifests/sample-bosh-manifest.yml");
