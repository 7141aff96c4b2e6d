//! Whether all is ready, and what is missing when it is not.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_mesh::Service;

use super::{Keeper, mesh, status};
use crate::{
    error::LabError,
    facts::VmFacts,
    job_config::{Look, Probe, probes},
    name::InstanceName,
    protocol::Progress,
    vm::protocol::{JobState, JobStatus},
};

/// For all VMs, their jobs and the mesh.
const PATIENCE: Duration = Duration::from_secs(120);
/// For a job to do as told: SIGTERM, 20 s, SIGKILL, and a little.
pub(super) const JOB_PATIENCE: Duration = Duration::from_secs(25);
/// For the VMs of a deleted deployment.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Lines shown of a log.
const TAIL: usize = 15;

/// Something that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    vm: InstanceName,
    /// The job whose log explains it.
    job: Option<String>,
    what: String,
}

/// Waits until every VM that should be there is, its jobs run, and what they offer answers.
pub(super) async fn wait(keeper: &Arc<Keeper>) -> Result<(), LabError> {
    let deadline = Instant::now() + PATIENCE;
    let mut shown = None;
    loop {
        let wanted = keeper.world.wanted();
        if !wanted.problems.is_empty() {
            return Err(LabError::Refused(wanted.problems.join("\n")));
        }
        let wanted = wanted.vms;
        let expected = mesh::expected(&keeper.world.view().borrow());
        let looks = wanted.values().map(|facts| look(keeper, facts, &expected));
        let mut missing: Vec<Missing> = futures::future::join_all(looks).await.into_iter().flatten().collect();
        let surplus = keeper.fleet.names().into_iter().filter(|name| !wanted.contains_key(name));
        missing.extend(surplus.map(|vm| Missing { vm, job: None, what: "is still to go".to_owned() }));
        let of = wanted.len();
        let ready = of.saturating_sub(missing.len());
        let first = missing.first().map(|missing| format!("{} {}", missing.vm.short(), missing.what));
        let progress = Progress::Waiting { what: "VMs ready".to_owned(), ready, of, missing: first };
        if shown.as_ref() != Some(&progress) {
            let _ = keeper.progress.send(progress.clone());
            shown = Some(progress);
        }
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(LabError::Refused(explain(keeper, &missing)));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Waits until the last VM of a deployment is gone.
pub(super) async fn wait_gone(keeper: &Arc<Keeper>, deployment: &str) -> Result<(), LabError> {
    let deadline = Instant::now() + DRAIN_PATIENCE;
    loop {
        let left: Vec<_> = keeper.fleet.names().into_iter().filter(|name| name.deployment == deployment).collect();
        let Some(first) = left.first() else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(LabError::Refused(format!(
                "{} VMs of {deployment} are still there, such as {first}",
                left.len()
            )));
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn look(keeper: &Arc<Keeper>, facts: &VmFacts, expected: &[Service]) -> Option<Missing> {
    let missing =
        |job: Option<&str>, what: String| Some(Missing { vm: facts.name.clone(), job: job.map(str::to_owned), what });
    let alive = keeper.fleet.running(&facts.name).filter(|vm| vm.facts == *facts);
    let Some(vm) = alive else {
        let why = keeper.fleet.failures().remove(&facts.name);
        return missing(
            None,
            why.map_or_else(|| "is not made yet".to_owned(), |why| format!("could not be made: {why}")),
        );
    };
    let jobs = vm.jobs();
    if jobs.is_empty() {
        return missing(None, "has not started its jobs yet".to_owned());
    }
    if let Some(job) = jobs.iter().find(|job| in_the_way(job)) {
        let how = job.last_exit.as_deref().map(|how| format!(", last {how}")).unwrap_or_default();
        return missing(Some(&job.name), format!("job {} is {}{how}", job.name, job.state.as_str()));
    }
    for Probe { job, port, path, look } in probes(keeper.lab.mesh.is_some(), facts) {
        // What an operator stopped is not waited for.
        if !jobs.iter().any(|status| status.name == job && status.state == JobState::Running) {
            continue;
        }
        match vm.get(port, path).await {
            Ok((200, body)) => {
                let lacks = match look {
                    Look::Answered => None,
                    Look::PilotStatus => mesh::pilot_lacks(&body, expected),
                    Look::AgentStatus => mesh::agent_lacks(&body, expected),
                };
                if let Some(what) = lacks {
                    return missing(Some(&job), what);
                }
            }
            Ok((status, body)) => {
                return missing(
                    Some(&job),
                    format!("job {job} answers {path} with {status}: {}", status::first_line(&body)),
                );
            }
            Err(error) => return missing(Some(&job), format!("job {job} does not answer: {error}")),
        }
    }
    None
}

fn in_the_way(job: &JobStatus) -> bool {
    matches!(job.state, JobState::Restarting | JobState::Stopping)
}

fn explain(keeper: &Keeper, missing: &[Missing]) -> String {
    let mut text = format!("not ready after {} s:", PATIENCE.as_secs());
    for Missing { vm, what, .. } in missing {
        text.push_str(&format!("\n  {vm} {what}"));
    }
    let Some((vm, job)) = missing.iter().find_map(|missing| Some((&missing.vm, missing.job.as_ref()?))) else {
        return text;
    };
    let logs = keeper.state.vcap(vm).join("sys/log").join(job);
    for stream in ["stderr", "stdout"] {
        let log = fs::read_to_string(logs.join(format!("{job}.{stream}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        if !lines.is_empty() {
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            text.push_str(&format!("\n{stream} of {job} on {vm} ends with:\n  {}", tail.join("\n  ")));
        }
    }
    text
}
