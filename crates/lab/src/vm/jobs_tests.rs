use super::*;

/// One job on a clock of its own.
struct Bench {
    jobs: Jobs,
    now: Instant,
}

impl Bench {
    fn running() -> Self {
        let now = Instant::now();
        let mut jobs = Jobs::new(["web".to_owned()], now);
        assert_eq!(jobs.due(now), [Action::Spawn(0)]);
        jobs.spawned(0, 100);
        Self { jobs, now }
    }

    fn command(&mut self, action: JobAction) -> Vec<Action> {
        self.jobs.command("web", action, self.now)
    }

    fn died(&mut self, pid: i32) {
        self.jobs.died(pid, "signal SIGKILL".to_owned(), self.now);
    }

    fn after(&mut self, pause: Duration) -> Vec<Action> {
        self.now += pause;
        self.jobs.due(self.now)
    }

    fn state(&self) -> JobState {
        self.jobs.status()[0].state
    }
}

#[test]
fn a_job_that_dies_comes_back_after_the_pause() {
    let mut bench = Bench::running();
    bench.died(100);
    assert_eq!(bench.state(), JobState::Restarting);
    assert_eq!(bench.after(RESTART_PAUSE - Duration::from_millis(1)), []);
    assert_eq!(bench.after(Duration::from_millis(1)), [Action::Spawn(0)]);
    bench.jobs.spawned(0, 101);
    let status = &bench.jobs.status()[0];
    assert_eq!((status.state, status.restarts), (JobState::Running, 1));
    assert_eq!(status.last_exit.as_deref(), Some("signal SIGKILL"));
}

#[test]
fn a_stopped_job_stays_down_until_it_is_started() {
    let mut bench = Bench::running();
    assert_eq!(bench.command(JobAction::Stop), [Action::Signal(100, Signal::SIGTERM)]);
    assert_eq!(bench.state(), JobState::Stopping);
    bench.died(100);
    assert_eq!(bench.state(), JobState::Stopped);
    assert_eq!(bench.after(Duration::from_secs(3600)), []);
    assert_eq!(bench.command(JobAction::Start), []);
    assert_eq!(bench.after(Duration::ZERO), [Action::Spawn(0)]);
}

#[test]
fn a_job_that_ignores_sigterm_is_killed() {
    let mut bench = Bench::running();
    bench.command(JobAction::Stop);
    assert_eq!(bench.jobs.next_due(), Some(bench.now + STOP_PATIENCE));
    assert_eq!(bench.after(STOP_PATIENCE), [Action::Signal(100, Signal::SIGKILL)]);
    bench.died(100);
    assert!(bench.jobs.all_down());
}

#[test]
fn a_killed_job_is_not_a_stopped_job() {
    let mut bench = Bench::running();
    assert_eq!(bench.command(JobAction::Kill), [Action::Signal(100, Signal::SIGKILL)]);
    bench.died(100);
    assert_eq!(bench.after(RESTART_PAUSE), [Action::Spawn(0)]);
}

#[test]
fn started_while_it_stops_a_job_comes_back() {
    let mut bench = Bench::running();
    bench.command(JobAction::Stop);
    bench.command(JobAction::Start);
    bench.died(100);
    assert_eq!(bench.after(RESTART_PAUSE), [Action::Spawn(0)]);
}

#[test]
fn a_job_that_cannot_be_started_is_tried_again() {
    let now = Instant::now();
    let mut jobs = Jobs::new(["web".to_owned()], now);
    assert_eq!(jobs.due(now), [Action::Spawn(0)]);
    jobs.not_spawned(0, "no such file".to_owned(), now);
    assert_eq!(jobs.due(now + RESTART_PAUSE), [Action::Spawn(0)]);
}

#[test]
fn the_death_of_an_orphan_changes_nothing() {
    let mut bench = Bench::running();
    bench.died(999);
    assert_eq!(bench.state(), JobState::Running);
}

#[test]
fn a_vm_is_down_when_every_job_is() {
    let now = Instant::now();
    let mut jobs = Jobs::new(["web".to_owned(), "dns".to_owned()], now);
    assert_eq!(jobs.due(now), [Action::Spawn(0), Action::Spawn(1)]);
    jobs.spawned(0, 100);
    jobs.not_spawned(1, "no such file".to_owned(), now);
    assert_eq!(jobs.stop_all(now), [Action::Signal(100, Signal::SIGTERM)]);
    assert!(!jobs.all_down());
    jobs.died(100, "exit 0".to_owned(), now);
    assert!(jobs.all_down());
}
