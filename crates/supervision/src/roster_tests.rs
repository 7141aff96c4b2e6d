use proptest::prelude::*;

use super::*;
use crate::policy::Strategy;

const SECOND: Duration = Duration::from_secs(1);

fn terms(restart: Restart) -> Terms {
    Terms { restart, backoff: Backoff { first: SECOND, longest: 4 * SECOND, jitter: 0.5 } }
}

fn permanent(strategy: Strategy, max_restarts: u32, children: usize) -> Roster {
    let intensity = Intensity { max_restarts, period: 60 * SECOND };
    Roster::new(strategy, intensity, vec![(terms(Restart::Permanent), false); children])
}

fn panicked() -> ExitReason {
    ExitReason::Panicked("text".to_owned())
}

/// Starts every child that may start, and reports its birth.
fn settle(roster: &mut Roster, now: Instant) -> Vec<usize> {
    let mut begun = Vec::new();
    while let Some(child) = roster.next_start(now) {
        roster.starting(child);
        roster.started(child, now);
        begun.push(child);
    }
    begun
}

#[test]
fn children_begin_one_after_the_other() {
    let now = Instant::now();
    let mut roster = permanent(Strategy::OneForOne, 3, 2);
    assert_eq!(roster.next_start(now), Some(0));
    roster.starting(0);
    assert_eq!(roster.next_start(now), None);
    roster.started(0, now);
    assert_eq!(roster.next_start(now), Some(1));
    assert!(!roster.is_up());
    roster.starting(1);
    roster.started(1, now);
    assert!(roster.is_up());
}

#[test]
fn a_child_that_always_falls_does_not_keep_the_others_from_their_turn() {
    let now = Instant::now();
    let mut roster = permanent(Strategy::OneForOne, 3, 2);
    roster.starting(0);
    roster.exited(0, &panicked(), now, 0.0);
    roster.starting(0);
    assert_eq!(roster.next_start(now), Some(1));
}

#[test]
fn under_rest_for_one_the_rest_is_stopped_last_first_and_waits() {
    let now = Instant::now();
    let mut roster = permanent(Strategy::RestForOne, 3, 4);
    settle(&mut roster, now);
    assert_eq!(
        roster.exited(1, &panicked(), now, 0.0),
        Reaction::Restart { after: Duration::ZERO, terminate: vec![3, 2] }
    );
    assert_eq!(settle(&mut roster, now), [1, 2, 3]);
    let second = roster.exited(1, &panicked(), now, 0.0);
    assert_eq!(second, Reaction::Restart { after: SECOND, terminate: vec![3, 2] });
    assert!(settle(&mut roster, now).is_empty());
    assert_eq!(roster.next_due(), Some(now + SECOND));
    assert_eq!(settle(&mut roster, now + SECOND), [1, 2, 3]);
}

proptest! {
    /// For any sequence of falls: no period has more restarts than allowed without the tree giving up, nor has one
    /// child without a quiet life in between, and the tree does not give up earlier. Children that a fall takes down do
    /// not count as fallen.
    #[test]
    fn a_tree_gives_up_exactly_when_one_period_or_one_row_saw_too_many_falls(
        strategy in prop_oneof![Just(Strategy::OneForOne), Just(Strategy::RestForOne)],
        falls in prop::collection::vec((0usize..3, 0u64..90), 1..40),
        max_restarts in 0u32..5,
    ) {
        let mut now = Instant::now();
        let mut seen: Vec<Instant> = Vec::new();
        let (mut rows, mut since) = ([0; 3], [now; 3]);
        let mut roster = permanent(strategy, max_restarts, 3);
        for (child, pause) in falls {
            now += Duration::from_secs(pause);
            for child in settle(&mut roster, now) {
                since[child] = now;
            }
            if !roster.phase(child).has_life() {
                continue;
            }
            seen.push(now);
            let recent = seen.iter().filter(|fall| now.duration_since(**fall) < 60 * SECOND).count();
            let reaction = roster.exited(child, &panicked(), now, 0.3);
            if let Reaction::Restart { terminate, .. } = &reaction {
                for stopped in terminate.iter().filter(|stopped| now.duration_since(since[**stopped]) >= 60 * SECOND) {
                    rows[*stopped] = 0;
                }
            }
            rows[child] = if now.duration_since(since[child]) >= 60 * SECOND { 1 } else { rows[child] + 1 };
            prop_assert_eq!(reaction == Reaction::Shutdown, recent.max(rows[child]) > max_restarts as usize);
            if reaction == Reaction::Shutdown {
                break;
            }
        }
    }

    /// Under rest-for-one, no child lives while one before it is down. Once the pauses are over, all children live.
    #[test]
    fn nobody_lives_on_a_fallen_foundation(steps in prop::collection::vec((0usize..5, 0u64..3000), 1..60)) {
        let mut now = Instant::now();
        let mut roster = permanent(Strategy::RestForOne, u32::MAX, 5);
        for (child, pause) in steps {
            now += Duration::from_millis(pause);
            settle(&mut roster, now);
            if roster.phase(child).has_life() {
                let living: Vec<_> = (child + 1..5).rev().filter(|later| roster.phase(*later).has_life()).collect();
                let Reaction::Restart { terminate, .. } = roster.exited(child, &panicked(), now, 0.0) else {
                    return Err(TestCaseError::fail("no restart"));
                };
                prop_assert_eq!(terminate, living);
            }
            let first_down = (0..5).find(|child| !roster.phase(*child).has_life()).unwrap_or(5);
            prop_assert!((first_down..5).all(|child| !roster.phase(child).has_life()));
        }
        settle(&mut roster, now + 4 * SECOND);
        prop_assert!((0..5).all(|child| roster.phase(child).has_life()));
    }
}
