use super::*;

const PID: i32 = 100;

fn kept(name: &str) -> Kept {
    Kept { name: name.to_owned(), job: "web".to_owned(), shutdown: Signal::SIGTERM, patience: None }
}

/// One process with its own clock.
struct Bench {
    jobs: Jobs,
    now: Instant,
}

impl Bench {
    fn running() -> Self {
        let now = Instant::now();
        let mut jobs = Jobs::new([kept("web")]);
        jobs.start_all(now);
        assert_eq!(jobs.due(now), [Action::Spawn(0)]);
        jobs.spawned(0, PID);
        jobs.ready(PID, now);
        Self { jobs, now }
    }

    fn command(&mut self, action: JobAction) -> Vec<Action> {
        self.jobs.command("web", action, self.now).unwrap()
    }

    fn died(&mut self, pid: i32) {
        self.jobs.died(pid, "signal SIGKILL".to_owned(), self.now);
    }

    fn after(&mut self, pause: Duration) -> Vec<Action> {
        self.now += pause;
        self.jobs.due(self.now)
    }

    fn state(&self) -> JobState {
        self.jobs.snapshot()[0].status.state
    }
}

#[test]
fn a_process_that_fails_its_health_check_often_enough_in_a_row_is_restarted() {
    let mut bench = Bench::running();
    bench.jobs.slots[0].kept.patience = Some(3);
    let now = bench.now;
    let mut ask = |is_well| bench.jobs.asked(PID, is_well, now);
    assert_eq!([false, false, true, false, false].map(&mut ask), [None; 5]);
    assert_eq!(ask(false), Some(Action::Signal(PID, Signal::SIGTERM)));
    assert_eq!(ask(false), None, "it is being stopped");
    assert_eq!(bench.state(), JobState::Stopping);
    bench.died(PID);
    assert_eq!(bench.after(RESTART_PAUSE), [Action::Spawn(0)]);
    bench.jobs.spawned(0, PID + 1);
    bench.jobs.ready(PID + 1, bench.now);
    assert_eq!(bench.jobs.asked(PID + 1, false, bench.now), None, "a new life is well until it has shown otherwise");
    bench.jobs.unmonitor_all();
    for _ in 0..9 {
        assert_eq!(bench.jobs.asked(PID + 1, false, bench.now), None, "monit does not look at it");
    }
}

#[test]
fn a_process_runs_when_it_has_been_made_ready() {
    let now = Instant::now();
    let mut jobs = Jobs::new([kept("web")]);
    let state = |jobs: &Jobs| (jobs.snapshot()[0].status.state, jobs.snapshot()[0].since);
    assert_eq!(state(&jobs), (JobState::Stopped, None));
    jobs.start_all(now);
    assert_eq!(state(&jobs), (JobState::Starting, None));
    jobs.spawned(0, PID);
    assert_eq!(state(&jobs), (JobState::Starting, None));
    jobs.ready(PID, now);
    assert_eq!(state(&jobs), (JobState::Running, Some(now)));
    jobs.start_all(now);
    assert_eq!(jobs.due(now), [], "what runs was started again");
}

#[test]
fn an_unmonitored_process_runs_on_and_does_not_come_back() {
    let mut bench = Bench::running();
    bench.jobs.unmonitor_all();
    assert_eq!(bench.state(), JobState::Running);
    assert!(!bench.jobs.snapshot()[0].monitored);
    bench.died(PID);
    assert_eq!(bench.after(RESTART_PAUSE), []);
    assert!(bench.jobs.all_down());
}

#[test]
fn a_process_has_its_own_signal_to_end_by() {
    let now = Instant::now();
    let mut jobs = Jobs::new([Kept { shutdown: Signal::SIGINT, ..kept("web") }]);
    jobs.start_all(now);
    jobs.spawned(0, PID);
    assert_eq!(jobs.stop_all(now), [Action::Signal(PID, Signal::SIGINT)]);
    assert_eq!(jobs.command("other", JobAction::Stop, now), None);
}

#[test]
fn a_process_that_dies_comes_back_after_the_pause() {
    let mut bench = Bench::running();
    bench.died(100);
    assert_eq!(bench.state(), JobState::Restarting);
    assert_eq!(bench.after(RESTART_PAUSE - Duration::from_millis(1)), []);
    assert_eq!(bench.after(Duration::from_millis(1)), [Action::Spawn(0)]);
    bench.jobs.spawned(0, 101);
    bench.jobs.ready(101, bench.now);
    let status = &bench.jobs.snapshot()[0].status;
    assert_eq!((status.state, status.restarts), (JobState::Running, 1));
    assert_eq!(status.last_exit.as_deref(), Some("signal SIGKILL"));
}

#[test]
fn a_stopped_process_stays_down_until_it_is_started() {
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
fn a_process_that_ignores_its_signal_is_asked_to_quit_and_then_killed() {
    let mut bench = Bench::running();
    bench.command(JobAction::Stop);
    assert_eq!(bench.jobs.next_due(), Some(bench.now + STOP_PATIENCE));
    assert_eq!(bench.after(STOP_PATIENCE), [Action::Signal(PID, Signal::SIGQUIT)]);
    assert_eq!(bench.after(QUIT_PATIENCE), [Action::Signal(PID, Signal::SIGKILL)]);
    bench.died(PID);
    assert!(bench.jobs.all_down());
}

#[test]
fn a_killed_process_is_not_a_stopped_one() {
    let mut bench = Bench::running();
    assert_eq!(bench.command(JobAction::Kill), [Action::Signal(100, Signal::SIGKILL)]);
    bench.died(100);
    assert_eq!(bench.after(RESTART_PAUSE), [Action::Spawn(0)]);
}

#[test]
fn started_while_it_stops_a_process_comes_back() {
    let mut bench = Bench::running();
    bench.command(JobAction::Stop);
    bench.command(JobAction::Start);
    bench.died(100);
    assert_eq!(bench.after(RESTART_PAUSE), [Action::Spawn(0)]);
}

#[test]
fn a_process_that_cannot_be_started_is_tried_again() {
    let now = Instant::now();
    let mut jobs = Jobs::new([kept("web")]);
    jobs.start_all(now);
    assert_eq!(jobs.due(now), [Action::Spawn(0)]);
    jobs.not_spawned(0, "no such file".to_owned(), now);
    assert_eq!(jobs.snapshot()[0].status.state, JobState::Restarting);
    assert_eq!(jobs.due(now + RESTART_PAUSE), [Action::Spawn(0)]);
}

#[test]
fn the_death_of_an_orphan_changes_nothing() {
    let mut bench = Bench::running();
    bench.died(999);
    assert_eq!(bench.state(), JobState::Running);
}

#[test]
fn a_vm_is_down_when_every_process_is() {
    let now = Instant::now();
    let mut jobs = Jobs::new([kept("web"), kept("dns")]);
    jobs.start_all(now);
    assert_eq!(jobs.due(now), [Action::Spawn(0), Action::Spawn(1)]);
    jobs.spawned(0, PID);
    jobs.not_spawned(1, "no such file".to_owned(), now);
    assert_eq!(jobs.stop_all(now), [Action::Signal(PID, Signal::SIGTERM)]);
    assert!(!jobs.all_down());
    jobs.died(PID, "exit 0".to_owned(), now);
    assert!(jobs.all_down());
}
