//! The control socket: one request per connection, in the protocol of [`crate::protocol`].

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::broadcast::error::RecvError,
};

use super::{fleet::Member, readiness, state::Keeper, status, vm::Facts, vm::Vm};
use crate::{
    error::LabError,
    name::{InstanceName, InstanceRef},
    protocol::{Answer, Progress, Request},
    vm::protocol::{JobAction, JobState, What, line},
};

/// A request contains one or two names.
const LARGEST_REQUEST: u64 = 64 << 10;

/// Accepts connections forever.
pub(super) async fn accept(keeper: Arc<Keeper>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let keeper = Arc::clone(&keeper);
                tokio::spawn(async move {
                    if let Err(error) = serve(&keeper, stream).await {
                        tracing::debug!(%error, "a command went away");
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "could not take a connection"),
        }
    }
}

async fn serve(keeper: &Arc<Keeper>, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LARGEST_REQUEST));
    let mut request = String::new();
    reader.read_line(&mut request).await?;
    match serde_json::from_str(&request)? {
        Request::Hold => {
            let _ = reader.read(&mut [0]).await;
            keeper.down.notify_one();
            Ok(())
        }
        Request::Down => {
            keeper.down.notify_one();
            writer.write_all(&line(&Answer::Done)?).await
        }
        request => {
            let answer = answer(keeper, request, &mut writer).await;
            let answer = answer.unwrap_or_else(|error| Answer::Failed(error.chain()));
            writer.write_all(&line(&answer)?).await
        }
    }
}

async fn answer(keeper: &Arc<Keeper>, request: Request, writer: &mut OwnedWriteHalf) -> Result<Answer, LabError> {
    match request {
        Request::Ready => with_progress(keeper, writer, ready(keeper)).await,
        Request::Reboot { instance } => with_progress(keeper, writer, reboot(keeper, &instance)).await,
        Request::Job { instance, job, action } => command(keeper, &instance, &job, action).await,
        Request::Find { instance } => {
            let (name, vm) = running(keeper, &instance)?;
            Ok(Answer::Found { name, pid: vm.pid })
        }
        Request::Spoil { fault, route, times } => {
            keeper.director.spoil(fault, route.as_deref(), times)?;
            Ok(Answer::Done)
        }
        Request::Heal => {
            keeper.director.heal();
            Ok(Answer::Done)
        }
        Request::Status => Ok(Answer::Status(status::now(keeper).await)),
        Request::Hold | Request::Down => Ok(Answer::Done),
    }
}

async fn ready(keeper: &Arc<Keeper>) -> Result<Answer, LabError> {
    readiness::wait(keeper).await?;
    Ok(Answer::Status(status::now(keeper).await))
}

async fn reboot(keeper: &Arc<Keeper>, instance: &InstanceRef) -> Result<Answer, LabError> {
    let member = find(keeper, instance)?;
    keeper.machines.reboot(&member.facts.cid).await?;
    Ok(Answer::Done)
}

/// The requested VM, whether it is running or dead.
fn find(keeper: &Keeper, instance: &InstanceRef) -> Result<Member, LabError> {
    let all = keeper.machines.fleet.all();
    let names: Vec<InstanceName> = all.iter().map(|member| member.facts.name.clone()).collect();
    let name = instance.resolve(&names)?;
    let found = all.into_iter().find(|member| member.facts.name == *name);
    found.ok_or_else(|| LabError::Refused(format!("there is no VM {name}")))
}

fn running(keeper: &Keeper, instance: &InstanceRef) -> Result<(InstanceName, Arc<Vm>), LabError> {
    let Member { facts: Facts { name, .. }, vm, .. } = find(keeper, instance)?;
    let vm = vm.ok_or_else(|| LabError::Refused(format!("{name} is not running; boot it with `boshy lab reboot`")))?;
    Ok((name, vm))
}

/// Sends a command to a job, and waits until its effect is visible.
async fn command(
    keeper: &Arc<Keeper>,
    instance: &InstanceRef,
    job: &str,
    action: JobAction,
) -> Result<Answer, LabError> {
    let (name, vm) = running(keeper, instance)?;
    let mut jobs = vm.watch_jobs();
    let before = vm.jobs();
    let Some(known) = before.iter().find(|status| status.name == job) else {
        let there = before.iter().map(|status| status.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(LabError::Refused(format!("{name} has no job {job}; it has {there}")));
    };
    if action == JobAction::Kill && known.state != JobState::Running {
        return Err(LabError::Refused(format!(
            "the job {job} of {name} is {}, there is nothing to kill",
            known.state.as_str()
        )));
    }
    vm.carries_out(What::Job { process: job.to_owned(), action }).await?;
    let shows = jobs.wait_for(|now| {
        now.iter().find(|status| status.name == job).is_some_and(|now| match action {
            JobAction::Start => now.state == JobState::Running,
            JobAction::Stop => now.state == JobState::Stopped,
            JobAction::Kill => now.restarts > known.restarts,
        })
    });
    match tokio::time::timeout(readiness::JOB_PATIENCE, shows).await {
        Ok(Ok(_)) => Ok(Answer::Done),
        Ok(Err(_)) => Err(LabError::Refused(format!("{name} ended"))),
        Err(_) => Err(LabError::Refused(format!(
            "the job {job} of {name} does not obey; see `boshy lab logs {} {job}`",
            name.short()
        ))),
    }
}

/// Reports progress while the work goes on. The work also goes on when the reader has gone away.
async fn with_progress(
    keeper: &Arc<Keeper>,
    writer: &mut OwnedWriteHalf,
    work: impl Future<Output = Result<Answer, LabError>>,
) -> Result<Answer, LabError> {
    let mut heard = keeper.machines.progress.subscribe();
    let mut show = async |progress: Progress| {
        if let Ok(line) = line(&Answer::Progress(progress)) {
            // A missing reader is noticed with the final answer.
            let _ = writer.write_all(&line).await;
        }
    };
    tokio::pin!(work);
    let answer = loop {
        tokio::select! {
            biased;
            progress = heard.recv() => match progress {
                Ok(progress) => show(progress).await,
                Err(RecvError::Lagged(_) | RecvError::Closed) => {}
            },
            answer = &mut work => break answer,
        }
    };
    while let Ok(progress) = heard.try_recv() {
        show(progress).await;
    }
    answer
}
