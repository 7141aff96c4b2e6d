//! Runs a booted VM: it receives orders, handles each in a task of its own, and sends answers and changes.

use std::{io, os::unix::net::UnixStream as StdUnixStream, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::{Mutex, mpsc},
};

use super::{
    agent::{Agent, write_health},
    children::Children,
    protocol::{Answer, JobStatus, Order, Report, VmSpec, What, line},
    supervisor::Supervisor,
    users::Vcap,
};
use crate::error::{Doing, LabError};

/// State of a VM that has just booted.
pub(super) struct Booted {
    pub(super) spec: VmSpec,
    pub(super) vcap: Vcap,
    /// Number of the boot order, which has to be answered.
    pub(super) order: u64,
    pub(super) reboot: bool,
}

/// Carries out orders until it is told to shut down or the keeper has ended.
pub(super) fn keep_alive(control: StdUnixStream, booted: Booted) -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the VM's event loop".to_owned())?;
    runtime.block_on(live(control, booted)).doing(|| "running the VM".to_owned())
}

async fn live(control: StdUnixStream, booted: Booted) -> io::Result<()> {
    control.set_nonblocking(true)?;
    let (orders, mut writer) = UnixStream::from_std(control)?.into_split();
    let mut orders = BufReader::new(orders).lines();
    let (reports, mut to_report) = mpsc::channel(16);
    let children = Children::default();
    children.watch()?;
    let supervisor = Supervisor::start(children.clone(), booted.vcap);
    let mut seen = supervisor.seen();
    let agent = Arc::new(Agent {
        children,
        supervisor,
        vcap: booted.vcap,
        hostname: booted.spec.hostname,
        address: booted.spec.interfaces.first().map(|(_, address)| address.addr()),
        acting: Mutex::new(()),
    });
    write_health(&[]);
    let resumed = if booted.reboot { agent.resume().await } else { Ok(()) };
    let result = resumed.map(|()| Answer::Done { notes: Vec::new() });
    writer.write_all(&line(&Report::Done { id: booted.order, result })?).await?;

    let mut shown: Vec<JobStatus> = Vec::new();
    loop {
        tokio::select! {
            order = orders.next_line() => {
                let Some(order) = order? else { return Ok(()) };
                let Order { id, what } = serde_json::from_str(&order)?;
                let (agent, reports) = (Arc::clone(&agent), reports.clone());
                let last = matches!(what, What::ShutDown);
                tokio::spawn(async move {
                    let result = agent.carry_out(what).await;
                    // Fails only while the VM is ending, and the request with it.
                    let _ = reports.send((Report::Done { id, result }, last)).await;
                });
            }
            Some((report, last)) = to_report.recv() => {
                writer.write_all(&line(&report)?).await?;
                if last {
                    return Ok(());
                }
            }
            Ok(()) = seen.changed() => {
                let snapshots = seen.borrow_and_update().clone();
                write_health(&snapshots);
                let status: Vec<_> = snapshots.into_iter().map(|one| one.status).collect();
                if status != shown {
                    shown.clone_from(&status);
                    writer.write_all(&line(&Report::Jobs(status))?).await?;
                }
            }
        }
    }
}
