//! The first process of a VM: it creates the VM around itself and then keeps its jobs alive.
//!
//! It is a process and not a thread of the keeper, because a mount namespace belongs to a process, and because the end
//! of process 1 of a PID namespace ends every process of the VM.
//!
//! ```text
//! keeper                        VM
//!   Build(spec) ─────────────────> own network, mounts, host name
//!   <───────────────────────── Done
//!   (puts the interfaces in)
//!   Boot ────────────────────────> addresses, root, /var/vcap
//!   <───────────────────────── Done
//!   Apply, Start, Stop, State ───>
//!   <────────────────── Done, Jobs
//! ```
//!
//! It implements four parts of a VM of BOSH: the agent (`agent`, `apply`, `scripts`), monit (`monit`, `jobs`,
//! `supervisor`), bpm (`bpm_yml`, `container`), and a compilation VM (`compile`).

mod agent;
mod apply;
mod bpm_yml;
mod children;
mod compile;
mod container;
mod container_root;
mod drain;
mod get;
mod jobs;
mod layout;
mod monit;
mod mounts;
mod privileges;
mod processes;
pub(crate) mod protocol;
mod root;
mod run;
mod scripts;
mod state;
mod supervisor;
mod users;

use std::{
    io::{BufRead, BufReader, Write},
    os::{fd::AsFd, unix::net::UnixStream},
};

use ipnet::Ipv4Net;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::sethostname,
};

pub(crate) use self::{
    compile::{Compilation, compile, run as run_compilation},
    container::run as run_contained,
};
use self::{
    protocol::{Answer, Order, Report, VmSpec, What, line},
    root::Root,
    run::Booted,
    users::Vcap,
};
use crate::{
    error::{Doing, LabError},
    netlink,
};

/// A note on the user that jobs run as, if it is unusual.
pub(crate) fn note_of_the_user() -> Result<Option<String>, LabError> {
    Ok(Vcap::here()?.note())
}

/// Runs a VM whose keeper is at the other end of stdin. Returns when told to shut down.
pub(crate) fn run() -> Result<(), LabError> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().doing(|| "taking the control socket".to_owned())?;
    let mut control = UnixStream::from(socket);
    // The keeper waits for the answer to each of its first two orders, so the buffer never contains a third.
    let mut orders = BufReader::new(control.try_clone().doing(|| "copying the control socket".to_owned())?);
    let Order { id, what: What::Build(spec) } = next(&mut orders)? else { return Err(out_of_turn()) };
    let built = unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .doing(|| "making the VM's namespaces".to_owned());
    answer(&mut control, id, &built)?;
    built?;
    let Order { id, what: What::Boot { reboot } } = next(&mut orders)? else { return Err(out_of_turn()) };
    let vcap = match boot(&spec) {
        Ok(vcap) => vcap,
        failed => {
            answer(&mut control, id, &failed)?;
            return failed.map(drop);
        }
    };
    run::keep_alive(control, Booted { spec, vcap, order: id, reboot })
}

fn boot(spec: &VmSpec) -> Result<Vcap, LabError> {
    sethostname(&spec.hostname).doing(|| format!("naming the host {}", spec.hostname))?;
    network(spec)?;
    root::enter(&Root {
        at: spec.root.clone(),
        vcap: spec.vcap.clone(),
        packages: spec.packages.clone(),
        preload: spec.preload.clone(),
        hostname: spec.hostname.clone(),
        address: spec.interfaces.first().map(|(_, address)| address.addr()),
    })?;
    let vcap = Vcap::here()?;
    layout::lay_out(&spec.instance, vcap)?;
    Ok(vcap)
}

/// Configures the network without a default route: nothing leaves the lab, and virtual IPs are reachable only by the
/// agent's own route.
fn network(spec: &VmSpec) -> Result<(), LabError> {
    netlink::set_up("lo")?;
    netlink::add_address("lo", Ipv4Net::from(boshy_lab_dns::ADDRESS))?;
    for (interface, address) in &spec.interfaces {
        netlink::add_address(interface, *address)?;
        netlink::set_up(interface)?;
    }
    Ok(())
}

fn next(orders: &mut impl BufRead) -> Result<Order, LabError> {
    let doing = || "reading the keeper's order".to_owned();
    let mut line = String::new();
    orders.read_line(&mut line).doing(doing)?;
    serde_json::from_str(&line).doing(doing)
}

fn answer<T>(control: &mut UnixStream, id: u64, result: &Result<T, LabError>) -> Result<(), LabError> {
    let doing = || "reporting to the keeper".to_owned();
    let result = match result {
        Ok(_) => Ok(Answer::Done { notes: Vec::new() }),
        Err(error) => Err(error.chain()),
    };
    control.write_all(&line(&Report::Done { id, result }).doing(doing)?).doing(doing)
}

fn out_of_turn() -> LabError {
    LabError::Refused("the keeper's order came out of turn".to_owned())
}
