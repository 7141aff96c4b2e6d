//! The one-machine BOSH: VMs as Linux namespaces, an embedded director, real Envoys.
//!
//! ```text
//! boshy lab up ─> keeper (process 1 of a PID namespace; bridge; director 10.244.0.2)
//!                   ├─ VM bosh-pilot/0   10.244.3.125   bosh-pilot
//!                   ├─ VM apricot/0      10.244.0.126   bosh-dns, virtual-ip-agent, bosh-envoy, example-httpbin
//!                   └─ ...
//! ```
//!
//! A VM is a PID, network, mount and host-name namespace whose process 1 keeps the VM's jobs alive, as monit does. All of
//! it hangs below the keeper: when the keeper goes, however it goes, the kernel ends every process, and with the last
//! process every namespace, interface and mount. Nothing else of the host is touched, and only the state directory stays.
//!
//! Not promised: isolation. The VMs share the kernel, the user and the host's programs; this is a place to try things,
//! not to confine them.

mod bosh_dns;
mod cli;
mod client;
mod commands;
mod error;
mod facts;
pub mod httpbin;
mod job_config;
mod keeper;
mod launch;
mod manifest;
mod name;
mod netlink;
mod protocol;
mod state_dir;
mod table;
mod vm;

use std::{path::PathBuf, process::ExitCode};

pub use cli::{JobArgs, LabCommand, StateArg, Up};
pub use error::LabError;
pub use facts::VmFacts;
pub use manifest::ManifestJob;
pub use name::{InstanceName, InstanceRef};

/// What `boshy lab up` deploys when no manifest is given.
const SAMPLE_MANIFEST: &str = include_str!("../../../manifests/sample-bosh-manifest.yml");

/// What the lab has to be given.
#[derive(Clone, Debug)]
pub struct LabSettings {
    /// The running program, which every process of the lab is made from: it has to answer to `lab SUBCOMMAND`, and for
    /// the mesh to `agent`, `pilot` and `httpbin`.
    pub boshy: PathBuf,
    /// The mesh on top; without it the VMs have bosh-dns and their own jobs, and there is no pilot.
    pub mesh: Option<MeshSettings>,
}

/// What only the mesh knows.
#[derive(Clone, Debug)]
pub struct MeshSettings {
    /// Envoy's bootstrap for a VM.
    pub bootstrap: fn(&VmFacts) -> String,
}

/// Carries out a command of `boshy lab`.
///
/// The process must have one thread: entering namespaces asks for it.
///
/// # Errors
/// What went wrong, to be shown with its causes; [`LabError::exit_status`] tells how to end.
pub fn run(command: &LabCommand, settings: LabSettings) -> Result<ExitCode, LabError> {
    commands::run(command, settings)
}
