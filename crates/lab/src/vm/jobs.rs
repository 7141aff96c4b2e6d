//! State machine of a VM's processes: when each is started, stopped and restarted, as by monit and bpm.
//!
//! Each call takes the time and returns actions to carry out. A monitored process that dies is restarted after
//! [`RESTART_PAUSE`], any number of times. One that fails its health check often enough in a row is stopped in order to
//! be restarted. One that was stopped stays down until it is started. Stopping sends the process's shutdown signal,
//! SIGQUIT after [`STOP_PATIENCE`], and SIGKILL after another [`QUIT_PATIENCE`].

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::protocol::{JobAction, JobState, JobStatus};

/// Time from the death of a process to its restart.
pub(super) const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Time from the shutdown signal to SIGQUIT.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Time from SIGQUIT to SIGKILL.
pub(super) const QUIT_PATIENCE: Duration = Duration::from_secs(2);

/// An action to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start the process at this position, then call [`Jobs::spawned`] or [`Jobs::not_spawned`].
    Spawn(usize),
    /// Send a signal.
    Signal(i32, Signal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Due { at: Instant },
    Starting { pid: i32 },
    Running { pid: i32, since: Instant },
    Stopping { pid: i32, next: Signal, at: Instant },
}

/// Definition of a watched process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) job: String,
    /// Its shutdown signal.
    pub(super) shutdown: Signal,
    /// Number of failed health checks in a row after which it is restarted; `None` without a check.
    pub(super) patience: Option<u32>,
}

/// Current state of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) status: JobStatus,
    /// It is started, and is restarted when it dies.
    pub(super) monitored: bool,
    pub(super) pid: Option<i32>,
    /// When it began to run; `None` while it does not run.
    pub(super) since: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    kept: Kept,
    monitored: bool,
    phase: Phase,
    restarts: u64,
    last_exit: Option<String>,
    /// Number of failed health checks in a row.
    unwell: u32,
}

/// The processes of a VM.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    slots: Vec<Slot>,
}

impl Jobs {
    /// Processes that are all down. Those of the previous value must be down: [`Jobs::all_down`].
    pub(super) fn new(kept: impl IntoIterator<Item = Kept>) -> Self {
        let slot = |kept| Slot { kept, monitored: false, phase: Phase::Down, restarts: 0, last_exit: None, unwell: 0 };
        Self { slots: kept.into_iter().map(slot).collect() }
    }

    /// Makes all processes that are down due now.
    pub(super) fn start_all(&mut self, now: Instant) {
        self.slots.iter_mut().for_each(|slot| slot.start(now));
    }

    /// Ends monitoring: no process is restarted any more.
    pub(super) fn unmonitor_all(&mut self) {
        for slot in &mut self.slots {
            slot.monitored = false;
            if let Phase::Due { .. } = slot.phase {
                slot.phase = Phase::Down;
            }
        }
    }

    /// Stops all processes until they are started again.
    pub(super) fn stop_all(&mut self, now: Instant) -> Vec<Action> {
        self.slots.iter_mut().filter_map(|slot| slot.stop(now)).collect()
    }

    /// Applies a command to one process; `None` when there is no such process.
    pub(super) fn command(&mut self, process: &str, action: JobAction, now: Instant) -> Option<Vec<Action>> {
        let slot = self.slots.iter_mut().find(|slot| slot.kept.name == process)?;
        let action = match action {
            JobAction::Start => {
                slot.start(now);
                None
            }
            JobAction::Stop => slot.stop(now),
            JobAction::Kill => slot.pid().map(|pid| Action::Signal(pid, Signal::SIGKILL)),
        };
        Some(action.into_iter().collect())
    }

    /// Whether no process runs or will be started.
    pub(super) fn all_down(&self) -> bool {
        self.slots.iter().all(|slot| slot.phase == Phase::Down)
    }

    /// The process at this position is being prepared.
    pub(super) fn spawned(&mut self, position: usize, pid: i32) {
        self.slots[position].phase = Phase::Starting { pid };
    }

    /// The process at this position could not be started.
    pub(super) fn not_spawned(&mut self, position: usize, reason: String, now: Instant) {
        self.slots[position].ended(reason, now);
    }

    /// The process has executed its program.
    pub(super) fn ready(&mut self, pid: i32, now: Instant) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.phase == Phase::Starting { pid }) {
            slot.phase = Phase::Running { pid, since: now };
            slot.unwell = 0;
        }
    }

    /// A health check has finished.
    pub(super) fn asked(&mut self, pid: i32, is_well: bool, now: Instant) -> Option<Action> {
        let slot = self.slots.iter_mut().find(|slot| slot.monitored && slot.runs(pid))?;
        slot.unwell = if is_well { 0 } else { slot.unwell + 1 };
        // The process is still monitored, so it is restarted.
        (slot.unwell >= slot.kept.patience?).then(|| slot.end(pid, now))
    }

    /// A process ended.
    pub(super) fn died(&mut self, pid: i32, how: String, now: Instant) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.pid() == Some(pid)) {
            slot.ended(how, now);
        }
    }

    /// Actions that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (position, slot) in self.slots.iter_mut().enumerate() {
            match slot.phase {
                Phase::Due { at } if at <= now => actions.push(Action::Spawn(position)),
                Phase::Stopping { pid, next, at } if at <= now => {
                    // SIGKILL is repeated only if the kernel is slow to reap the process.
                    slot.phase = Phase::Stopping { pid, next: Signal::SIGKILL, at: now + QUIT_PATIENCE };
                    actions.push(Action::Signal(pid, next));
                }
                _ => {}
            }
        }
        actions
    }

    /// When [`Jobs::due`] will next return an action.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = |slot: &Slot| match slot.phase {
            Phase::Due { at } | Phase::Stopping { at, .. } => Some(at),
            Phase::Down | Phase::Starting { .. } | Phase::Running { .. } => None,
        };
        self.slots.iter().filter_map(due).min()
    }

    /// Current state of every process.
    pub(super) fn snapshot(&self) -> Vec<Snapshot> {
        self.slots.iter().map(Slot::snapshot).collect()
    }
}

impl Slot {
    fn pid(&self) -> Option<i32> {
        match self.phase {
            Phase::Starting { pid } | Phase::Running { pid, .. } | Phase::Stopping { pid, .. } => Some(pid),
            Phase::Down | Phase::Due { .. } => None,
        }
    }

    fn start(&mut self, now: Instant) {
        self.monitored = true;
        if self.phase == Phase::Down {
            self.phase = Phase::Due { at: now };
        }
    }

    fn stop(&mut self, now: Instant) -> Option<Action> {
        self.monitored = false;
        match self.phase {
            Phase::Starting { pid } | Phase::Running { pid, .. } => Some(self.end(pid, now)),
            Phase::Due { .. } => {
                self.phase = Phase::Down;
                None
            }
            Phase::Down | Phase::Stopping { .. } => None,
        }
    }

    fn runs(&self, pid: i32) -> bool {
        matches!(self.phase, Phase::Running { pid: running, .. } if running == pid)
    }

    fn end(&mut self, pid: i32, now: Instant) -> Action {
        self.phase = Phase::Stopping { pid, next: Signal::SIGQUIT, at: now + STOP_PATIENCE };
        Action::Signal(pid, self.kept.shutdown)
    }

    fn ended(&mut self, how: String, now: Instant) {
        self.last_exit = Some(how);
        self.phase = if self.monitored {
            self.restarts += 1;
            Phase::Due { at: now + RESTART_PAUSE }
        } else {
            Phase::Down
        };
    }

    fn snapshot(&self) -> Snapshot {
        let state = match self.phase {
            Phase::Starting { .. } => JobState::Starting,
            Phase::Due { .. } if self.last_exit.is_none() => JobState::Starting,
            Phase::Due { .. } => JobState::Restarting,
            Phase::Running { .. } => JobState::Running,
            Phase::Stopping { .. } => JobState::Stopping,
            Phase::Down => JobState::Stopped,
        };
        let (restarts, last_exit) = (self.restarts, self.last_exit.clone());
        let Kept { name, job, .. } = self.kept.clone();
        let since = match self.phase {
            Phase::Running { since, .. } => Some(since),
            _ => None,
        };
        let status = JobStatus { name, job, state, restarts, last_exit };
        Snapshot { status, monitored: self.monitored, pid: self.pid(), since }
    }
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
