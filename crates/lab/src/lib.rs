//! The one-machine BOSH: VMs as Linux namespaces, an embedded director, real Envoys.
//!
//! ```text
//! boshy lab up ─> keeper (process 1 of a PID namespace; bridge; director 10.244.0.2, on the host 127.0.0.1)
//!                   ├─ VM bosh-pilot/0   10.244.3.125   bosh-pilot
//!                   ├─ VM apricot/0      10.244.0.126   bosh-dns, virtual-ip-agent, bosh-envoy, example-httpbin
//!                   └─ ...
//! ```
//!
//! A VM consists of a PID, network, mount and host-name namespace. Its process 1 keeps the VM's jobs alive, as monit
//! does. All VMs are below the keeper. When the keeper ends, for any reason, the kernel ends every process, and with
//! the last process every namespace, interface and mount. Nothing else on the host is changed, and only the state
//! directory remains.
//!
//! Not promised: isolation. The VMs share the kernel, the user and the host's programs. The lab is for experiments, not
//! for confinement.

#![expect(
    clippy::disallowed_methods,
    reason = "a stage for tests, which fail by what they wait for; nothing of it is run by the release's jobs"
)]

mod access;
mod cli;
mod client;
mod commands;
mod error;
mod keeper;
mod launch;
mod name;
mod netlink;
mod operator;
mod protocol;
mod release;
mod settings;
mod state_dir;
mod table;
mod vm;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use cli::{JobArgs, LabCommand, ReleaseArgs, StateArg, Up};
pub use error::LabError;
pub use name::{InstanceName, InstanceRef};
pub use settings::LabSettings;

/// Examples for `boshy lab --help`.
pub const EXAMPLES: &str = "Examples:
  boshy lab up
  boshy lab status
  boshy lab exec apricot/3 -- curl -s http://example-httpbin.banana.sample-deployment.boshy:9002/get
  boshy lab down";
/// Runs a command of `boshy lab`.
///
/// The process must have one thread, because entering namespaces requires it.
///
/// # Errors
/// What failed, to be shown with its causes. [`LabError::exit_status`] is the exit status.
pub fn run(command: &LabCommand, settings: LabSettings) -> Result<ExitCode, LabError> {
    allow_files();
    commands::run(command, settings)
}

/// The kernel's default limit for root (`fs.nr_open`).
const OPEN_FILES: u64 = 1_048_576;

/// Raises the hard limit of open files for the lab's processes, as far as this user may: inside a VM's namespaces no
/// process may raise it. The soft limit stays as it is.
fn allow_files() {
    if let Ok((own, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && most < OPEN_FILES
    {
        // Without the privilege the machine's limit remains, and jobs that ask for more get a note.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, own, OPEN_FILES);
    }
}
