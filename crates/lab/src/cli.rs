//! The command line of `boshy lab`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::name::InstanceRef;

/// A BOSH on this machine, without a hypervisor.
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Bring up a director, and with it the mesh and the VMs of the manifests
    ///
    /// Every VM is a set of Linux namespaces with the host's programs and files of its own; a bridge joins them. The director
    /// is reached from this machine alone. The lab works as root, and as an ordinary user where the kernel lets users make
    /// namespaces. It changes nothing on the host but its state directory, and runs until `boshy lab down`.
    #[command(after_long_help = "Examples:
  boshy lab up
  boshy lab up --manifest my-deployment.yml
  boshy lab up --empty && eval \"$(boshy lab env)\" && bosh env
  boshy lab up --foreground")]
    Up(Up),
    /// Print what points the BOSH CLI at the lab's director
    #[command(after_long_help = "Example:
  eval \"$(boshy lab env)\"
  bosh deployments")]
    Env {
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Upload a release to the lab's director
    #[command(after_long_help = "Example:
  boshy lab upload-release istio.tgz")]
    UploadRelease {
        /// The release, a tar archive
        file: PathBuf,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Write the development release that `up` uploads, or one of a folder of jobs and packages
    #[command(after_long_help = "Examples:
  boshy lab release istio.tgz
  boshy lab release --from tests/release --as 0.0.1 small.tgz")]
    Release(ReleaseArgs),
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
    /// End all processes of a VM and boot it again: what monit knows starts, nothing else
    ///
    /// For a VM that died as well.
    #[command(after_long_help = "Example:
  boshy lab reboot banana/1")]
    Reboot {
        /// The VM: GROUP/INDEX, or DEPLOYMENT/GROUP/INDEX
        instance: InstanceRef,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Stop a process, as `monit stop` does
    #[command(after_long_help = "Example:
  boshy lab stop banana/1 example-httpbin")]
    Stop(JobArgs),
    /// Start a stopped process, as `monit start` does
    #[command(after_long_help = "Example:
  boshy lab start banana/1 example-httpbin")]
    Start(JobArgs),
    /// Kill a process with SIGKILL; it comes back
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
    /// Spoils the director's answers, for tests
    #[command(hide = true)]
    Spoil {
        /// The fault as JSON, such as {"status":503} or "empty_list"
        fault: String,
        /// The route, such as "GET /deployments/:name", or method and path of one request; without it, all
        #[arg(long)]
        route: Option<String>,
        /// Number of answers; without it, all until `heal`
        #[arg(long, requires = "route")]
        times: Option<u32>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show the text as the command's own")]
        state: StateArg,
    },
    /// Lets the director answer as it should
    #[command(hide = true)]
    Heal {
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
    /// Becomes a process of a job, as bpm would run it
    #[command(hide = true)]
    Bpm,
    /// Compiles a package, as a compilation VM would
    #[command(hide = true)]
    Compile,
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
    /// The director alone: no release, nothing deployed
    #[arg(long, conflicts_with_all = ["manifests", "release", "test_hooks"])]
    pub empty: bool,
    /// Let clients of a UAA in, which the director plays, instead of the director's own users
    #[arg(long)]
    pub uaa: bool,
    /// A release made by `bosh create-release --tarball`; without it, a development release of this program
    #[arg(long, value_name = "FILE")]
    pub release: Option<PathBuf>,
    /// Set the property `test_hooks` of the pilot and the agents, for tests of this project
    #[arg(long)]
    pub test_hooks: bool,
    /// A library that every program of the VMs loads, for tests of this project
    #[arg(long, value_name = "FILE", hide = true)]
    pub preload: Option<PathBuf>,
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

/// `boshy lab release`.
#[derive(Args, Clone, Debug)]
pub struct ReleaseArgs {
    /// Folder with jobs/, packages/, src/ and config/final.yml; without it, what this program has inside
    #[arg(long, value_name = "FOLDER")]
    pub from: Option<PathBuf>,
    /// The release's version
    #[arg(id = "as", long = "as", value_name = "VERSION", default_value = crate::release::VERSION)]
    pub version: String,
    /// Boshy's program; without it, this one
    #[arg(long, value_name = "PATH")]
    pub boshy: Option<PathBuf>,
    /// Envoy's program; without it, the one found in PATH
    #[arg(long, value_name = "PATH", env = "BOSHY_LAB_ENVOY")]
    pub envoy: Option<PathBuf>,
    /// The archive to write
    pub file: PathBuf,
}

/// Which lab is meant.
#[derive(Args, Clone, Debug)]
pub struct StateArg {
    /// Directory of the lab; by default /run/boshy-lab for root, $XDG_RUNTIME_DIR/boshy-lab for others
    #[arg(long, value_name = "DIR", env = "BOSHY_LAB_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Which process of which VM is meant.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// The VM: GROUP/INDEX, or DEPLOYMENT/GROUP/INDEX
    pub instance: InstanceRef,
    /// The process, by monit's name for it
    pub job: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show the text as the command's own")]
    pub state: StateArg,
}
