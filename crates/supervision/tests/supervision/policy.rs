//! Which children are restarted, when, together with which others, and when the tree gives up.

use std::time::Duration;

use boshy_supervision::{Backoff, ChildRef, ChildState, ExitReason, Restart, SendError, Strategy, Tree};
use tokio::time::Instant;

use crate::{driver::*, journal::Journal, probe::*};

const MINUTE: Duration = Duration::from_secs(60);

fn probe(tree: &mut Tree, name: &str, restart: Restart, journal: &Journal) -> ChildRef<Probe> {
    tree.child(name, Probe::factory(&Habits::default(), journal)).restart(restart).backoff(Backoff::NONE).add()
}

#[test]
fn a_transient_child_is_restarted_after_a_failure_and_not_after_a_normal_end() {
    paused(async {
        let mut tree = Tree::new("tree");
        let child = probe(&mut tree, "child", Restart::Transient, &Journal::default());
        let mut running = RunningTree::start(tree);
        child.send(Die(End::Fail)).await.unwrap();
        running.running("child", 1).await;
        let _ = child.send(Die(End::Handler)).await;
        running.running("child", 2).await;
        child.send(Die(End::Stop)).await.unwrap();
        let ended = running.until("child", |child| child.state == ChildState::Stopped).await;
        assert_eq!((ended.restarts, ended.last_exit.as_deref()), (2, Some("ended normally")));
        assert_eq!(child.send(Count).await, Err(SendError::GivenUp));
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn a_temporary_child_is_never_restarted() {
    paused(async {
        let mut tree = Tree::new("tree");
        let child = probe(&mut tree, "child", Restart::Temporary, &Journal::default());
        let mut running = RunningTree::start(tree);
        let _ = child.send(Die(End::Handler)).await;
        let ended = running.until("child", |child| child.state == ChildState::Stopped).await;
        assert_eq!(ended.last_exit.as_deref(), Some("panicked: deliberate: in a handler"));
        assert_eq!(ended.restarts, 0);
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn pauses_grow_from_none_to_the_longest_and_begin_anew_after_a_quiet_life() {
    let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5), jitter: 0.0 };
    paused(async {
        let mut tree = Tree::new("tree").intensity(100, MINUTE);
        let child = tree.child("child", Probe::factory(&Habits::default(), &Journal::default())).backoff(backoff).add();
        let _running = RunningTree::start(tree);
        child.send(Count).await.unwrap();
        let pause = async || {
            let fall = Instant::now();
            let _ = child.send(Die(End::Handler)).await;
            child.send(Count).await.unwrap();
            // The timer has a resolution of one millisecond.
            (fall.elapsed() + Duration::from_millis(1)).as_secs()
        };
        for expected in [0, 1, 2, 4, 5, 5] {
            assert_eq!(pause().await, expected);
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(pause().await, 0);
        assert_eq!(pause().await, 1);
    });
}

#[test]
fn a_child_in_its_pause_is_shown_so_and_keeps_its_messages() {
    let backoff = Backoff { first: MINUTE, longest: MINUTE, jitter: 0.0 };
    paused(async {
        let mut tree = Tree::new("tree");
        let child = tree.child("child", Probe::factory(&Habits::default(), &Journal::default())).backoff(backoff).add();
        let mut running = RunningTree::start(tree);
        for _ in 0..2 {
            assert_eq!(child.send(Die(End::Handler)).await, Err(SendError::Lost));
        }
        let answer = actix_rt::spawn(async move { child.send(Count).await });
        running.until("child", |child| child.state == ChildState::BackingOff && child.restarts == 1).await;
        assert!(!answer.is_finished());
        let answer = tokio::time::timeout(2 * MINUTE, answer).await.expect("after the pause").unwrap().unwrap();
        assert_eq!(answer.generation, 3);
        // A child in its pause does not delay the stop.
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn too_many_restarts_end_the_root_with_exit_code_1() {
    let journal = Journal::default();
    paused(async {
        let mut tree = Tree::new("tree").intensity(2, MINUTE);
        let sibling = probe(&mut tree, "sibling", Restart::Permanent, &journal);
        let child = probe(&mut tree, "child", Restart::Permanent, &journal);
        let status = tree.status();
        let running = RunningTree::start(tree);
        for _ in 0..3 {
            assert!(child.send(Die(End::Handler)).await.is_err());
        }
        let exit = running.ended().await;
        assert_eq!((&exit, exit.exit_code()), (&ExitReason::GaveUp, 1));
        assert!(journal.lines().contains(&"stopped sibling 1".to_owned()));
        let states: Vec<_> = status.borrow().children.iter().map(|child| child.state).collect();
        assert_eq!(states, [ChildState::Stopped, ChildState::GaveUp]);
        assert_eq!(child.send(Count).await, Err(SendError::GivenUp));
        assert_eq!(sibling.send(Count).await, Err(SendError::GivenUp));
    });
}

#[test]
fn a_child_that_falls_a_moment_after_each_restart_is_not_restarted_for_ever() {
    paused(async {
        let mut tree = Tree::new("tree").intensity(10, MINUTE);
        let child = tree.child("child", Probe::factory(&Habits::default(), &Journal::default())).add();
        let running = RunningTree::start(tree);
        let begin = Instant::now();
        // Its pauses grow up to half a minute, so no minute has ten falls.
        let falls = async {
            let mut falls = 0;
            while child.send(Count).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(2)).await;
                falls += u32::from(child.send(Die(End::Handler)).await.is_err());
                assert!(falls <= 11, "the tree goes on after {falls} falls in a row");
            }
        };
        falls.await;
        assert_eq!(running.ended().await, ExitReason::GaveUp);
        assert!(begin.elapsed() > MINUTE, "{:?}", begin.elapsed());
    });
}

#[test]
fn restarts_spread_over_time_are_borne() {
    paused(async {
        let mut tree = Tree::new("tree").intensity(1, MINUTE);
        let child = probe(&mut tree, "child", Restart::Permanent, &Journal::default());
        let running = RunningTree::start(tree);
        for _ in 0..5 {
            assert_eq!(child.send(Die(End::Handler)).await, Err(SendError::Lost));
            tokio::time::sleep(MINUTE).await;
        }
        assert_eq!(child.send(Count).await.unwrap().generation, 6);
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn a_tree_that_gives_up_is_one_fall_to_its_parent_and_climbs_to_the_root() {
    let journal = Journal::default();
    paused(async {
        let mut inner = Tree::new("inner").intensity(1, 10 * MINUTE);
        let brother = probe(&mut inner, "brother", Restart::Permanent, &journal);
        let child = probe(&mut inner, "child", Restart::Permanent, &journal);
        let mut outer = Tree::new("outer").intensity(1, 10 * MINUTE);
        let uncle = probe(&mut outer, "uncle", Restart::Permanent, &journal);
        outer.tree(inner);
        let mut running = RunningTree::start(outer);
        for _ in 0..2 {
            assert_eq!(child.send(Die(End::Handler)).await, Err(SendError::Lost));
        }
        // The inner tree gave up and was restarted as a whole; handles still reach its children.
        let inner = running.running("inner", 1).await;
        assert_eq!(inner.last_exit.as_deref(), Some("gave up"));
        assert_eq!(child.send(Count).await.unwrap().generation, 3);
        assert_eq!(brother.send(Count).await.unwrap().generation, 2);
        assert_eq!(uncle.send(Count).await.unwrap().generation, 1);
        for _ in 0..2 {
            assert!(child.send(Die(End::Handler)).await.is_err());
        }
        assert_eq!(running.ended().await.exit_code(), 1);
        assert_eq!(brother.send(Count).await, Err(SendError::GivenUp));
        assert!(journal.lines().contains(&"stopped uncle 1".to_owned()));
    });
}

#[test]
fn what_ended_for_good_stays_so_when_its_tree_is_restarted() {
    paused(async {
        let mut inner = Tree::new("inner").intensity(0, MINUTE);
        let once = probe(&mut inner, "once", Restart::Temporary, &Journal::default());
        let child = probe(&mut inner, "child", Restart::Permanent, &Journal::default());
        let mut outer = Tree::new("outer");
        outer.tree(inner);
        let mut running = RunningTree::start(outer);
        once.send(Die(End::Stop)).await.unwrap();
        running.until("inner/once", |child| child.state == ChildState::Stopped).await;
        let _ = child.send(Die(End::Handler)).await;
        running.running("inner", 1).await;
        assert_eq!(child.send(Count).await.unwrap().generation, 2);
        assert_eq!(once.send(Count).await, Err(SendError::GivenUp));
        assert_eq!(running.status().children[1].state, ChildState::Stopped);
    });
}

#[test]
fn rest_for_one_restarts_those_after_the_fallen_and_leaves_those_before() {
    let journal = Journal::default();
    paused(async {
        let mut tree = Tree::new("tree").strategy(Strategy::RestForOne);
        let _a = probe(&mut tree, "a", Restart::Permanent, &journal);
        let b = probe(&mut tree, "b", Restart::Permanent, &journal);
        let once = probe(&mut tree, "once", Restart::Temporary, &journal);
        let _c = probe(&mut tree, "c", Restart::Transient, &journal);
        let _d = probe(&mut tree, "d", Restart::Permanent, &journal);
        let mut running = RunningTree::start(tree);
        running.running("d", 0).await;
        assert_eq!(journal.lines(), ["started a 1", "started b 1", "started once 1", "started c 1", "started d 1"]);
        journal.clear();

        assert_eq!(b.send(Die(End::Handler)).await, Err(SendError::Lost));
        running.running("d", 1).await;
        let hooks: Vec<_> = journal.lines().into_iter().filter(|line| !line.starts_with("stopping")).collect();
        let expected = [
            "dropped b 1",
            "stopped d 1",
            "dropped d 1",
            "stopped c 1",
            "dropped c 1",
            "stopped once 1",
            "dropped once 1",
            "started b 2",
            "started c 2",
            "started d 2",
        ];
        assert_eq!(hooks, expected);
        assert_eq!(once.send(Count).await, Err(SendError::GivenUp));
    });
}

#[test]
fn rest_for_one_starts_the_rest_only_once_the_fallen_is_up_again() {
    let journal = Journal::default();
    let habits = Habits { panic_in_started: |generation| generation < 4, ..Habits::default() };
    let backoff = Backoff { first: Duration::from_secs(1), longest: MINUTE, jitter: 0.0 };
    paused(async {
        let mut tree = Tree::new("tree").strategy(Strategy::RestForOne);
        let _first = tree.child("first", Probe::factory(&habits, &journal)).backoff(backoff).add();
        let second = probe(&mut tree, "second", Restart::Permanent, &journal);
        let _running = RunningTree::start(tree);
        second.send(Count).await.unwrap();
        let starts: Vec<_> = journal.lines().into_iter().filter(|line| line.starts_with("started")).collect();
        assert_eq!(
            starts,
            ["started first 1", "started first 2", "started first 3", "started first 4", "started second 1"]
        );
    });
}

#[test]
fn one_for_one_does_not_wait_for_a_child_that_cannot_start() {
    let habits = Habits { panic_in_started: |_| true, ..Habits::default() };
    let backoff = Backoff { first: MINUTE, longest: MINUTE, jitter: 0.0 };
    paused(async {
        let begin = Instant::now();
        let mut tree = Tree::new("tree");
        let _first = tree.child("first", Probe::factory(&habits, &Journal::default())).backoff(backoff).add();
        let second = probe(&mut tree, "second", Restart::Permanent, &Journal::default());
        let _running = RunningTree::start(tree);
        second.send(Count).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(1));
    });
}

#[test]
#[should_panic(expected = "tree tree: two children twin")]
fn two_children_of_one_name_are_refused() {
    let mut tree = Tree::new("tree");
    probe(&mut tree, "twin", Restart::Permanent, &Journal::default());
    probe(&mut tree, "twin", Restart::Permanent, &Journal::default());
}
