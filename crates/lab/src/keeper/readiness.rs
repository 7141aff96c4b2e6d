//! Readiness of the lab, and what is missing.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_mesh::Service;

use super::{
    fleet::Member,
    mesh::{self, AGENT_JOB, AGENT_PORT, PILOT_JOB, PILOT_PORT},
    state::Keeper,
    status,
};
use crate::{
    error::LabError,
    name::InstanceName,
    protocol::Progress,
    vm::protocol::{JobState, JobStatus},
};

/// Time for all VMs, their jobs and the mesh to become ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time for a job to carry out a command: SIGTERM, 20 s, SIGKILL, and a margin.
pub(super) const JOB_PATIENCE: Duration = Duration::from_secs(25);
/// Interval at which readiness is checked.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Number of log lines shown.
const TAIL: usize = 15;

/// Something that is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    vm: InstanceName,
    cid: String,
    /// The job whose log explains the problem.
    job: Option<String>,
    what: String,
}

/// A check of a job: it is ready when `GET` is answered with 200 and the answer lacks nothing.
struct Probe {
    job: &'static str,
    port: u16,
    path: &'static str,
    /// Returns what the answer lacks.
    lacks: fn(&str, &[Service]) -> Option<String>,
}

/// Checks beyond the jobs' own post-start: that the mesh is the same everywhere.
const PROBES: [Probe; 4] = [
    Probe { job: PILOT_JOB, port: PILOT_PORT, path: "/readyz", lacks: |_, _| None },
    Probe { job: PILOT_JOB, port: PILOT_PORT, path: "/status", lacks: mesh::pilot_lacks },
    Probe { job: AGENT_JOB, port: AGENT_PORT, path: "/readyz", lacks: |_, _| None },
    Probe { job: AGENT_JOB, port: AGENT_PORT, path: "/status", lacks: mesh::agent_lacks },
];

/// Waits until the processes of every VM run and its mesh knows every service.
pub(super) async fn wait(keeper: &Arc<Keeper>) -> Result<(), LabError> {
    let deadline = Instant::now() + PATIENCE;
    let mut shown = None;
    loop {
        let expected = mesh::expected(&keeper.director.view().borrow());
        let members = keeper.machines.fleet.all();
        let looks = members.iter().map(|member| look(member, &expected));
        let missing: Vec<Missing> = futures::future::join_all(looks).await.into_iter().flatten().collect();
        let of = members.len();
        let ready = of.saturating_sub(missing.len());
        let first = missing.first().map(|missing| format!("{} {}", missing.vm.short(), missing.what));
        let progress = Progress::Waiting { what: "VMs ready".to_owned(), ready, of, missing: first };
        if shown.as_ref() != Some(&progress) {
            let _ = keeper.machines.progress.send(progress.clone());
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

async fn look(member: &Member, expected: &[Service]) -> Option<Missing> {
    let missing = |job: Option<&str>, what: String| {
        let (vm, cid) = (member.facts.name.clone(), member.facts.cid.clone());
        Some(Missing { vm, cid, job: job.map(str::to_owned), what })
    };
    let Some(vm) = &member.vm else { return missing(None, "does not answer".to_owned()) };
    let jobs = vm.jobs();
    if let Some(job) = jobs.iter().find(|job| in_the_way(job)) {
        let how = job.last_exit.as_deref().map(|how| format!(", last {how}")).unwrap_or_default();
        return missing(Some(&job.job), format!("process {} is {}{how}", job.name, job.state.as_str()));
    }
    for Probe { job, port, path, lacks } in PROBES {
        // A job that an operator has stopped is not awaited.
        if !jobs.iter().any(|status| status.job == job && status.state == JobState::Running) {
            continue;
        }
        match vm.get(port, path).await {
            Ok((200, body)) => {
                if let Some(what) = lacks(&body, expected) {
                    return missing(Some(job), what);
                }
            }
            Ok((status, body)) => {
                let said = status::first_line(&body);
                return missing(Some(job), format!("job {job} answers {path} with {status}: {said}"));
            }
            Err(error) => return missing(Some(job), format!("job {job} does not answer: {error}")),
        }
    }
    None
}

fn in_the_way(job: &JobStatus) -> bool {
    matches!(job.state, JobState::Starting | JobState::Restarting | JobState::Stopping)
}

fn explain(keeper: &Keeper, missing: &[Missing]) -> String {
    let mut text = format!("not ready after {} s:", PATIENCE.as_secs());
    for Missing { vm, what, .. } in missing {
        text.push_str(&format!("\n  {vm} {what}"));
    }
    let Some((Missing { vm, cid, .. }, job)) = missing.iter().find_map(|it| Some((it, it.job.as_ref()?))) else {
        return text;
    };
    let logs = keeper.machines.state.vcap(cid).join("sys/log").join(job);
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
