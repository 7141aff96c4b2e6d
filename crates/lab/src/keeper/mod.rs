//! The keeper: process 1 of the lab's PID namespace. It holds the lab's bridge and its director, and is the parent of
//! its VMs.

mod control;
mod fleet;
mod lab_director;
mod machines;
mod mesh;
mod packages;
mod readiness;
mod settings;
mod state;
mod status;
mod vm;

use std::{fs, io, io::Write, net::TcpListener, os::fd::AsFd, sync::Arc};

use ipnet::Ipv4Net;
use nix::mount::{MsFlags, mount};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

pub(crate) use self::settings::{DIRECTOR, KeeperSettings, LISTENING};
use self::{
    lab_director::LabDirector,
    machines::{Cpi, Machines},
    settings::{BRIDGE, NETWORK_PREFIX},
    state::Keeper,
};
use crate::{
    LabSettings,
    error::{Doing, LabError},
    netlink,
    state_dir::StateDir,
    vm::note_of_the_user,
};

/// Runs the keeper until it is told to end. Nothing needs to be cleaned up, because the kernel ends everything below
/// it.
pub(crate) fn run(lab: LabSettings, state: &StateDir) -> Result<(), LabError> {
    let path = state.keeper_settings();
    let written = fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))?;
    let settings: KeeperSettings = serde_json::from_str(&written).doing(|| format!("reading {}", path.display()))?;
    let from_host = io::stdin().as_fd().try_clone_to_owned().doing(|| "taking the listener".to_owned())?;
    own_mounts()?;
    netlink::set_up("lo")?;
    let std::net::IpAddr::V4(address) = DIRECTOR.ip() else { unreachable!("the lab's network is IPv4") };
    netlink::create_bridge(BRIDGE, Ipv4Net::new_assert(address, NETWORK_PREFIX))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing(|| "starting the keeper's event loop".to_owned())?;
    let machines =
        Arc::new(Machines::new(lab.boshy, settings.preload.clone(), state.clone(), runtime.handle().clone()));
    machines.fleet.note(note_of_the_user()?);
    let from_host = TcpListener::from(from_host);
    let (director, access) = LabDirector::start(&settings, state, from_host, Arc::new(Cpi(Arc::clone(&machines))))?;
    access.write(state)?;
    let keeper = Arc::new(Keeper { machines, director, down: Notify::new() });
    runtime.block_on(serve(keeper))
}

async fn serve(keeper: Arc<Keeper>) -> Result<(), LabError> {
    let socket = keeper.machines.state.socket();
    let listener = UnixListener::bind(&socket).doing(|| format!("listening on {}", socket.display()))?;
    let listening = "telling that the keeper listens";
    let mut terminate = signal(SignalKind::terminate()).doing(|| "handling SIGTERM".to_owned())?;
    writeln!(io::stdout(), "{LISTENING}").doing(|| listening.to_owned())?;
    // The parent process waits for the end of the line and reads no further.
    let nowhere = fs::File::options().write(true).open("/dev/null").doing(|| "opening /dev/null".to_owned())?;
    nix::unistd::dup2_stdout(&nowhere).doing(|| "letting go of stdout".to_owned())?;
    tokio::select! {
        () = control::accept(Arc::clone(&keeper), listener) => {}
        () = keeper.down.notified() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("the lab goes down");
    Ok(())
}

/// Mounts the keeper's own `/proc`. The host does not see its mounts.
fn own_mounts() -> Result<(), LabError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .doing(|| "making the lab's mounts its own".to_owned())?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).doing(|| "mounting the lab's own /proc".to_owned())
}
