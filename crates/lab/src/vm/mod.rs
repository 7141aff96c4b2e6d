//! The first process of a VM: makes the VM around itself, then keeps its jobs alive.
//!
//! It is a process of its own, and not a thread of the keeper, because a mount namespace belongs to a process; and because
//! as process 1 of a PID namespace it takes every process of the VM with it when it goes.
//!
//! ```text
//! keeper                      VM
//!   Build(spec) ───────────────> own network, mounts, host name
//!   <──────────────── Unshared
//!   (puts eth0 in)
//!   Boot ──────────────────────> addresses, root
//!   <────────────────── Booted
//!   Job, Get, ShutDown ────────>
//!   <─────────────── Jobs, Got
//! ```

mod get;
mod jobs;
pub(crate) mod protocol;
mod root;
mod run;

use std::{
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    os::{fd::AsFd, unix::net::UnixStream},
};

use ipnet::Ipv4Net;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::sethostname,
};

use self::protocol::{Order, Report, VmSpec};
use crate::{
    error::{Doing, LabError},
    netlink,
};

/// Where bosh-dns listens on every VM.
pub(crate) const BOSH_DNS: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 2);

/// Runs a VM whose keeper is at the other end of stdin. Ends when told to shut down.
pub(crate) fn run() -> Result<(), LabError> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().doing(|| "taking the control socket".to_owned())?;
    let mut control = UnixStream::from(socket);
    match boot(&mut control) {
        Ok(spec) => run::keep_alive(control, &spec),
        Err(error) => say(&mut control, &Report::Failed(error.chain())),
    }
}

fn boot(control: &mut UnixStream) -> Result<VmSpec, LabError> {
    // The keeper waits for an answer to each of its first two orders, so the buffer never holds a third.
    let mut orders = BufReader::new(control.try_clone().doing(|| "copying the control socket".to_owned())?);
    let Order::Build(spec) = next(&mut orders)? else { return Err(out_of_turn()) };
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .doing(|| "making the VM's namespaces".to_owned())?;
    say(control, &Report::Unshared)?;
    let Order::Boot = next(&mut orders)? else { return Err(out_of_turn()) };
    sethostname(&spec.hostname).doing(|| format!("naming the host {}", spec.hostname))?;
    network(&spec)?;
    root::enter(&spec)?;
    say(control, &Report::Booted)?;
    Ok(spec)
}

/// There is no default route: nothing leaves the lab, and virtual IPs are reached by the agent's own route alone.
fn network(spec: &VmSpec) -> Result<(), LabError> {
    netlink::set_up("lo")?;
    netlink::add_address("lo", Ipv4Net::from(BOSH_DNS))?;
    netlink::add_address("eth0", spec.address)?;
    netlink::set_up("eth0")
}

fn next(orders: &mut impl BufRead) -> Result<Order, LabError> {
    let doing = || "reading the keeper's order".to_owned();
    let mut line = String::new();
    orders.read_line(&mut line).doing(doing)?;
    serde_json::from_str(&line).doing(doing)
}

fn say(control: &mut UnixStream, report: &Report) -> Result<(), LabError> {
    let doing = || "reporting to the keeper".to_owned();
    control.write_all(&line(report).doing(doing)?).doing(doing)
}

/// A value as one line of JSON.
pub(crate) fn line(value: &impl serde::Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

fn out_of_turn() -> LabError {
    LabError::Refused("the keeper's order came out of turn".to_owned())
}
