//! The keeper: process 1 of the lab's PID namespace, its switch, the home of its director, and the parent of its VMs.
//!
//! ```text
//!   director ──(what should be)──> reconcile ──> VMs ──> their jobs
//!      ^                               |
//!   control socket <───(progress)──────┘
//! ```
//!
//! The director is the only one who says which VMs there should be; a deploy is carried out by changing its mind. The
//! keeper's own network namespace holds the bridge, and the director's address is the bridge's.

mod control;
mod fleet;
mod mesh;
mod plan;
mod readiness;
mod reconcile;
mod status;
mod vm;
mod world;

use std::{
    fs, io,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::Ipv4Net;
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, broadcast},
};

use self::{fleet::Fleet, world::World};
use crate::{
    LabSettings,
    error::{Doing, LabError},
    launch::LISTENING,
    netlink,
    protocol::Progress,
    state_dir::StateDir,
};

/// The lab's network.
const NETWORK_PREFIX: u8 = 16;
/// The director's address, which is the bridge's.
pub(crate) const DIRECTOR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 244, 0, 2)), 25555);
/// The bridge that joins the VMs.
const BRIDGE: &str = "switch";
/// From the moment the mesh learns that a VM goes, to the end of its jobs: the pilot asks the director each second, and a
/// configuration has to reach every proxy.
const DRAIN_PAUSE: Duration = Duration::from_secs(2);

/// What a keeper is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeeperSettings {
    /// Envoy's program on the host.
    pub(crate) envoy: Option<PathBuf>,
}

/// What all parts of the keeper share.
struct Keeper {
    lab: LabSettings,
    settings: KeeperSettings,
    state: StateDir,
    fleet: Fleet,
    world: World,
    progress: broadcast::Sender<Progress>,
    down: Notify,
}

impl Keeper {
    /// Tells whoever listens what has happened.
    fn say(&self, text: String) {
        tracing::info!("{text}");
        // An error only means that nobody listens.
        let _ = self.progress.send(Progress::Said(text));
    }
}

/// Runs the keeper until it is told to end. What ends with it needs no clearing up: the kernel does it.
pub(crate) fn run(lab: LabSettings, state: StateDir) -> Result<(), LabError> {
    let path = state.keeper_settings();
    let written = fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))?;
    let settings = serde_json::from_str(&written).doing(|| format!("reading {}", path.display()))?;
    own_mounts()?;
    netlink::set_up("lo")?;
    let std::net::IpAddr::V4(address) = DIRECTOR.ip() else { unreachable!("the lab's network is IPv4") };
    netlink::create_bridge(BRIDGE, Ipv4Net::new_assert(address, NETWORK_PREFIX))?;
    let world = World::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing(|| "starting the keeper's event loop".to_owned())?;
    let keeper = Arc::new(Keeper {
        lab,
        settings,
        state,
        fleet: Fleet::default(),
        world,
        progress: broadcast::channel(1024).0,
        down: Notify::new(),
    });
    runtime.block_on(serve(keeper))
}

async fn serve(keeper: Arc<Keeper>) -> Result<(), LabError> {
    let socket = keeper.state.socket();
    let listener = UnixListener::bind(&socket).doing(|| format!("listening on {}", socket.display()))?;
    let listening = "telling that the keeper listens";
    let mut terminate = signal(SignalKind::terminate()).doing(|| "handling SIGTERM".to_owned())?;
    writeln!(io::stdout(), "{LISTENING}").doing(|| listening.to_owned())?;
    // Who started us waits for the end of the line; nobody reads on.
    let nowhere = fs::File::options().write(true).open("/dev/null").doing(|| "opening /dev/null".to_owned())?;
    nix::unistd::dup2_stdout(&nowhere).doing(|| "letting go of stdout".to_owned())?;
    tokio::select! {
        () = control::accept(Arc::clone(&keeper), listener) => {}
        () = reconcile::forever(Arc::clone(&keeper)) => {}
        () = keeper.down.notified() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("the lab goes down");
    Ok(())
}

/// The keeper sees its own processes under `/proc`, and the host does not see what it mounts.
fn own_mounts() -> Result<(), LabError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .doing(|| "making the lab's mounts its own".to_owned())?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).doing(|| "mounting the lab's own /proc".to_owned())
}
