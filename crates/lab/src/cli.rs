//! The command line of `boshy lab`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::name::InstanceRef;

/// A BOSH on this machine, without a hypervisor.
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Bring up a director, a pilot and the VMs of the manifests
    ///
    /// Every VM is a set of Linux namespaces with the host's programs and files of its own; a bridge joins them. The lab
    /// works as root, and as an ordinary user where the kernel lets users make namespaces. It changes nothing on the
    /// host but its state directory, and runs until `boshy lab down`.
    #[command(after_long_help = "Examples:
  boshy lab up
  boshy lab up --manifest my-deployment.yml
  boshy lab up --foreground")]
    Up(Up),
    /// Show the VMs, their jobs and the services
    #[command(after_long_help = "Examples:
  boshy lab status
  boshy lab status --json | jq .services")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Deploy a manifest, new or changed
    #[command(after_long_help = "Example:
  boshy lab deploy manifests/sample-bosh-manifest.yml")]
    Deploy {
        /// The deployment manifest
        file: PathBuf,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Delete a deployment and its VMs
    #[command(after_long_help = "Example:
  boshy lab delete sample-deployment")]
    Delete {
        /// Name of the deployment
        deployment: String,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Run a command in a VM, with this terminal
    ///
    /// The exit status is the command's; 128 and the signal's number when a signal ended it.
    #[command(after_long_help = "Examples:
  boshy lab exec apricot/3 -- curl -s http://example-httpbin.banana.sample-deployment.boshy:9002/get
  boshy lab exec apricot/3 -- bash")]
    Exec {
        /// The VM: GROUP/INDEX, or DEPLOYMENT/GROUP/INDEX
        instance: InstanceRef,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
        /// The command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Stop a job: SIGTERM, and SIGKILL after 20 seconds
    #[command(after_long_help = "Example:
  boshy lab stop banana/1 example-httpbin")]
    Stop(JobArgs),
    /// Start a stopped job
    #[command(after_long_help = "Example:
  boshy lab start banana/1 example-httpbin")]
    Start(JobArgs),
    /// Kill a job with SIGKILL; it comes back after a second
    #[command(after_long_help = "Example:
  boshy lab kill apricot/0 virtual-ip-agent")]
    Kill(JobArgs),
    /// Show what the jobs of a VM have logged
    #[command(after_long_help = "Examples:
  boshy lab logs apricot/0
  boshy lab logs -f apricot/0 virtual-ip-agent")]
    Logs {
        /// The VM: GROUP/INDEX, or DEPLOYMENT/GROUP/INDEX
        instance: InstanceRef,
        /// One job only
        job: Option<String>,
        /// Go on as the logs grow
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Take the lab down and leave nothing
    Down {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Makes the keeper's namespaces
    #[command(hide = true)]
    Launcher {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Holds the lab
    #[command(hide = true)]
    Keeper {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Is process 1 of a VM
    #[command(hide = true)]
    Vm,
    /// Stands in for bosh-dns in a VM
    #[command(hide = true)]
    BoshDns,
}

/// `boshy lab up`.
#[derive(Args, Clone, Debug)]
pub struct Up {
    /// Deployment manifest; can be given several times. Without one, the sample deployment
    #[arg(long = "manifest", value_name = "FILE")]
    pub manifests: Vec<PathBuf>,
    /// Stay, and take the lab down on Ctrl-C
    #[arg(long)]
    pub foreground: bool,
    /// Envoy's program; without it, the one found in PATH
    #[arg(long, value_name = "PATH", env = "BOSHY_LAB_ENVOY")]
    pub envoy: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show the text as the command's own")]
    pub state: StateArg,
}

/// Which lab is meant.
#[derive(Args, Clone, Debug)]
pub struct StateArg {
    /// Directory of the lab; by default /run/boshy-lab for root, $XDG_RUNTIME_DIR/boshy-lab for others
    #[arg(long, value_name = "DIR", env = "BOSHY_LAB_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Which job of which VM is meant.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// The VM: GROUP/INDEX, or DEPLOYMENT/GROUP/INDEX
    pub instance: InstanceRef,
    /// The job
    pub job: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show the text as the command's own")]
    pub state: StateArg,
}
