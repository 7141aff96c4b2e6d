//! The one-machine BOSH: VMs as Linux namespaces, an embedded director, real Envoys.
//!
//! ```text
//! boshy lab up ─> keeper (process 1 of a PID namespace; bridge; director 10.244.0.2, on the host 127.0.0.1)
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

#![expect(
    clippy::disallowed_methods,
    reason = "a stage for tests, which fail by what they wait for; nothing of it is run by the release's jobs"
)]

mod access;
mod bosh_dns;
mod cli;
mod client;
mod commands;
mod director;
mod error;
mod keeper;
mod launch;
mod name;
mod netlink;
mod protocol;
mod release;
mod state_dir;
mod table;
mod vm;

use std::{path::PathBuf, process::ExitCode};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use cli::{JobArgs, LabCommand, ReleaseArgs, StateArg, Up};
pub use error::LabError;
pub use name::{InstanceName, InstanceRef};

/// For `boshy lab --help`.
pub const EXAMPLES: &str = "Examples:
  boshy lab up
  boshy lab status
  boshy lab exec apricot/3 -- curl -s http://example-httpbin.banana.sample-deployment.boshy:9002/get
  boshy lab down";
/// The control plane.
const MESH_MANIFEST: &str = include_str!("../../../manifests/bosh-istio-deployment.yml");
/// What it takes on every other VM.
const RUNTIME_CONFIG: &str = include_str!("../../../manifests/runtime-config.yml");
/// What `boshy lab up` deploys when no manifest is given.
const SAMPLE_MANIFEST: &str = include_str!("../../../manifests/sample-bosh-manifest.yml");

/// What the lab has to be given.
#[derive(Clone, Debug)]
pub struct LabSettings {
    /// The running program, which is process 1 of everything here, and Boshy's in a development release unless another is named.
    pub boshy: PathBuf,
}

/// Carries out a command of `boshy lab`.
///
/// The process must have one thread: entering namespaces asks for it.
///
/// # Errors
/// What went wrong, to be shown with its causes; [`LabError::exit_status`] tells how to end.
pub fn run(command: &LabCommand, settings: LabSettings) -> Result<ExitCode, LabError> {
    allow_files();
    commands::run(command, settings)
}

/// What the kernel gives a VM's root by default (`fs.nr_open`).
const OPEN_FILES: u64 = 1_048_576;

/// Lets the processes of the lab have as many files as their jobs ask for, where this user may: in the namespaces of a VM nobody may. For
/// itself every process keeps the limit that it has.
fn allow_files() {
    if let Ok((own, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && most < OPEN_FILES
    {
        // Whoever may not has what the machine gives, and jobs that ask for more are told.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, own, OPEN_FILES);
    }
}
