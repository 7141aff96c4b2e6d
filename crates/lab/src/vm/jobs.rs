//! Which process of a VM lives, dies and comes back: what monit does, as a function of values.
//!
//! Each call takes the time and gives the actions to carry out. A job that dies comes back after [`RESTART_PAUSE`], for
//! ever; a job that was stopped stays down until it is started. Stopping is SIGTERM, and SIGKILL after [`STOP_PATIENCE`],
//! as bpm does it (without bpm's SIGQUIT in between).

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::protocol::{JobAction, JobState, JobStatus};

/// From the death of a job to its next life.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the job at this position, then say [`Jobs::spawned`] or [`Jobs::died`].
    Spawn(usize),
    /// Send a signal to the process group.
    Signal(i32, Signal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    Pausing { until: Instant },
    Running { pid: i32 },
    Stopping { pid: i32, kill_at: Instant },
}

#[derive(Debug)]
struct Slot {
    name: String,
    wanted: bool,
    phase: Phase,
    restarts: u64,
    last_exit: Option<String>,
}

/// The jobs of a VM.
#[derive(Debug)]
pub(crate) struct Jobs {
    slots: Vec<Slot>,
}

impl Jobs {
    /// All of them due now.
    pub(crate) fn new(names: impl IntoIterator<Item = String>, now: Instant) -> Self {
        let slot =
            |name| Slot { name, wanted: true, phase: Phase::Pausing { until: now }, restarts: 0, last_exit: None };
        Self { slots: names.into_iter().map(slot).collect() }
    }

    /// Carries out a command. An unknown job changes nothing: the keeper asks only for jobs that it gave.
    pub(crate) fn command(&mut self, job: &str, action: JobAction, now: Instant) -> Vec<Action> {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.name == job) else { return Vec::new() };
        match action {
            JobAction::Start => slot.start(now),
            JobAction::Stop => slot.stop(now),
            JobAction::Kill => slot.kill(),
        }
    }

    /// Stops everything for good.
    pub(crate) fn stop_all(&mut self, now: Instant) -> Vec<Action> {
        self.slots.iter_mut().flat_map(|slot| slot.stop(now)).collect()
    }

    /// True when nothing runs and nothing will.
    pub(crate) fn all_down(&self) -> bool {
        self.slots.iter().all(|slot| slot.phase == Phase::Down)
    }

    /// The job at this position has a process.
    pub(crate) fn spawned(&mut self, position: usize, pid: i32) {
        self.slots[position].phase = Phase::Running { pid };
    }

    /// The job at this position could not be started.
    pub(crate) fn not_spawned(&mut self, position: usize, reason: String, now: Instant) {
        self.slots[position].ended(reason, now);
    }

    /// A process ended; others than the jobs' own (orphans) change nothing.
    pub(crate) fn died(&mut self, pid: i32, how: String, now: Instant) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.pid() == Some(pid)) {
            slot.ended(how, now);
        }
    }

    /// What has fallen due.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (position, slot) in self.slots.iter_mut().enumerate() {
            match slot.phase {
                Phase::Pausing { until } if until <= now => actions.push(Action::Spawn(position)),
                Phase::Stopping { pid, kill_at } if kill_at <= now => {
                    // Asked again later only if the kernel is slow to reap.
                    slot.phase = Phase::Stopping { pid, kill_at: now + STOP_PATIENCE };
                    actions.push(Action::Signal(pid, Signal::SIGKILL));
                }
                _ => {}
            }
        }
        actions
    }

    /// When [`Jobs::due`] has something next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.slots
            .iter()
            .filter_map(|slot| match slot.phase {
                Phase::Pausing { until } => Some(until),
                Phase::Stopping { kill_at, .. } => Some(kill_at),
                Phase::Down | Phase::Running { .. } => None,
            })
            .min()
    }

    /// What every job does now.
    pub(crate) fn status(&self) -> Vec<JobStatus> {
        let status = |slot: &Slot| JobStatus {
            name: slot.name.clone(),
            state: match slot.phase {
                Phase::Running { .. } => JobState::Running,
                Phase::Pausing { .. } => JobState::Restarting,
                Phase::Stopping { .. } => JobState::Stopping,
                Phase::Down => JobState::Stopped,
            },
            restarts: slot.restarts,
            last_exit: slot.last_exit.clone(),
        };
        self.slots.iter().map(status).collect()
    }
}

impl Slot {
    fn pid(&self) -> Option<i32> {
        match self.phase {
            Phase::Running { pid } | Phase::Stopping { pid, .. } => Some(pid),
            Phase::Down | Phase::Pausing { .. } => None,
        }
    }

    fn start(&mut self, now: Instant) -> Vec<Action> {
        self.wanted = true;
        if self.phase == Phase::Down {
            self.phase = Phase::Pausing { until: now };
        }
        Vec::new()
    }

    fn stop(&mut self, now: Instant) -> Vec<Action> {
        self.wanted = false;
        match self.phase {
            Phase::Running { pid } => {
                self.phase = Phase::Stopping { pid, kill_at: now + STOP_PATIENCE };
                vec![Action::Signal(pid, Signal::SIGTERM)]
            }
            Phase::Pausing { .. } => {
                self.phase = Phase::Down;
                Vec::new()
            }
            Phase::Down | Phase::Stopping { .. } => Vec::new(),
        }
    }

    fn kill(&self) -> Vec<Action> {
        self.pid().map(|pid| Action::Signal(pid, Signal::SIGKILL)).into_iter().collect()
    }

    fn ended(&mut self, how: String, now: Instant) {
        self.last_exit = Some(how);
        self.phase = if self.wanted {
            self.restarts += 1;
            Phase::Pausing { until: now + RESTART_PAUSE }
        } else {
            Phase::Down
        };
    }
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
