//! The agent's `get_state` for the processes, in monit's terms.

use std::{fs, time::Instant};

use boshy_lab_director::{AgentState, ProcessState};

use super::{jobs::Snapshot, protocol::JobState};

/// The agent's state.
pub(super) fn agent_state(snapshots: &[Snapshot], stopped: bool, now: Instant) -> AgentState {
    let process = |snapshot: &Snapshot| ProcessState {
        name: snapshot.status.name.clone(),
        state: process_state(snapshot).to_owned(),
        uptime_seconds: snapshot.since.map_or(0, |since| now.saturating_duration_since(since).as_secs()),
        memory_kb: snapshot.pid.and_then(memory_kb).unwrap_or(0),
    };
    AgentState {
        job_state: job_state(snapshots, stopped).to_owned(),
        processes: snapshots.iter().map(process).collect(),
        ..AgentState::default()
    }
}

/// `running`, `failing`, `starting` or `stopped`.
pub(super) fn job_state(snapshots: &[Snapshot], stopped: bool) -> &'static str {
    let states = || snapshots.iter().map(process_state);
    if stopped {
        "stopped"
    } else if states().any(|state| state == "starting") {
        "starting"
    } else if states().any(|state| state != "running") {
        "failing"
    } else {
        "running"
    }
}

/// Monit does not check a process that is not monitored.
fn process_state(snapshot: &Snapshot) -> &'static str {
    match snapshot.status.state {
        _ if !snapshot.monitored => "unknown",
        JobState::Running => "running",
        JobState::Starting => "starting",
        JobState::Restarting | JobState::Stopping | JobState::Stopped => "failing",
    }
}

/// Resident memory of a process.
fn memory_kb(pid: i32) -> Option<u64> {
    resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::protocol::JobStatus;
    use std::time::Duration;

    fn snapshot(state: JobState, monitored: bool) -> Snapshot {
        let status = JobStatus { name: "web".to_owned(), job: "web".to_owned(), state, restarts: 0, last_exit: None };
        Snapshot { status, monitored, pid: None, since: None }
    }

    #[test]
    fn a_vm_is_as_well_as_its_worst_process() {
        let running = || snapshot(JobState::Running, true);
        assert_eq!(job_state(&[], false), "running");
        assert_eq!(job_state(&[running(), running()], false), "running");
        assert_eq!(job_state(&[running(), snapshot(JobState::Restarting, true)], false), "failing");
        assert_eq!(job_state(&[running(), snapshot(JobState::Running, false)], false), "failing");
        assert_eq!(job_state(&[running(), snapshot(JobState::Starting, true)], false), "starting");
        assert_eq!(job_state(&[snapshot(JobState::Stopped, false)], true), "stopped");
    }

    #[test]
    fn what_is_not_monitored_is_unknown() {
        let now = Instant::now();
        let mut running = snapshot(JobState::Running, true);
        (running.since, running.pid) = (Some(now), i32::try_from(std::process::id()).ok());
        let state = agent_state(&[running, snapshot(JobState::Stopped, false)], false, now + Duration::from_secs(7));
        assert_eq!((state.processes[0].state.as_str(), state.processes[0].uptime_seconds), ("running", 7));
        assert!(state.processes[0].memory_kb > 100, "{state:?}");
        assert_eq!((state.processes[1].state.as_str(), state.processes[1].memory_kb), ("unknown", 0));
    }
}
