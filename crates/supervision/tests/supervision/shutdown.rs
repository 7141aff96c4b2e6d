//! Stopping is orderly, takes a bounded time, and survives faulty hooks.

use std::time::Duration;

use boshy_supervision::{ChildRef, ExitReason, SendError, Shutdown, Tree};
use tokio::time::Instant;

use crate::{driver::*, journal::Journal, probe::*};

fn child(tree: &mut Tree, name: &str, habits: &Habits, shutdown: Shutdown, journal: &Journal) -> ChildRef<Probe> {
    tree.child(name, Probe::factory(habits, journal)).shutdown(shutdown).add()
}

#[test]
fn children_stop_in_reverse_order_through_nested_trees_and_the_exit_code_is_0() {
    let journal = Journal::default();
    paused(async {
        let mut inner = Tree::new("inner");
        child(&mut inner, "x", &Habits::default(), Shutdown::default(), &journal);
        child(&mut inner, "y", &Habits::default(), Shutdown::default(), &journal);
        let mut tree = Tree::new("tree");
        child(&mut tree, "a", &Habits::default(), Shutdown::default(), &journal);
        tree.tree(inner);
        child(&mut tree, "b", &Habits::default(), Shutdown::default(), &journal);
        let mut running = RunningTree::start(tree);
        running.running("b", 0).await;
        assert_eq!(journal.lines(), ["started a 1", "started inner/x 1", "started inner/y 1", "started b 1"]);
        journal.clear();
        let exit = running.stop().await;
        assert_eq!((&exit, exit.exit_code()), (&ExitReason::Normal, 0));
        let stopped: Vec<_> = journal.lines().into_iter().filter(|line| line.starts_with("stopped")).collect();
        assert_eq!(stopped, ["stopped b 1", "stopped inner/y 1", "stopped inner/x 1", "stopped a 1"]);
    });
}

#[test]
fn a_drained_child_answers_what_was_queued_before_it_stops() {
    let journal = Journal::default();
    paused(async {
        let mut tree = Tree::new("tree");
        let child = child(&mut tree, "child", &Habits::default(), Shutdown::Drain(Duration::from_secs(9)), &journal);
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        child.try_send(Nap(Duration::from_secs(5))).unwrap();
        for number in 0..500 {
            child.try_send(Note(number)).unwrap();
        }
        assert_eq!(running.stop().await, ExitReason::Normal);
        let lines = journal.lines();
        assert_eq!(lines[1], "woke child 1");
        assert_eq!(lines[501..], ["note 499 child 1", "stopping child 1", "stopped child 1", "dropped child 1"]);
    });
}

#[test]
fn a_drained_child_may_finish_its_work() {
    let journal = Journal::default();
    let habits = Habits { linger: Some(Duration::from_secs(3)), ..Habits::default() };
    paused(async {
        let mut tree = Tree::new("tree");
        let child = child(&mut tree, "child", &habits, Shutdown::Drain(Duration::from_secs(9)), &journal);
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        let asked = Instant::now();
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            child.send(Note(1)).await
        };
        let (exit, late) = tokio::join!(running.stop(), late);
        assert_eq!((exit, late), (ExitReason::Normal, Ok(())));
        assert_eq!(asked.elapsed().as_secs(), 3);
        let expected = ["stopping child 1", "note 1 child 1", "stopping child 1", "stopped child 1", "dropped child 1"];
        assert_eq!(journal.lines()[1..], expected);
    });
}

#[test]
fn a_child_that_drains_too_long_is_killed_at_its_deadline() {
    let journal = Journal::default();
    let habits = Habits { linger: Some(Duration::from_secs(3600)), ..Habits::default() };
    paused(async {
        let mut tree = Tree::new("tree");
        let child = child(&mut tree, "child", &habits, Shutdown::Drain(Duration::from_secs(2)), &journal);
        let status = tree.status();
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        let asked = Instant::now();
        let hanging = child.send(Nap(Duration::from_secs(3600)));
        let (hanging, exit) = tokio::join!(hanging, running.stop());
        assert_eq!((hanging, exit), (Err(SendError::GivenUp), ExitReason::Normal));
        assert_eq!(asked.elapsed().as_secs(), 2);
        assert_eq!(status.borrow().children[0].last_exit.as_deref(), Some("killed"));
        assert_eq!(journal.lines(), ["started child 1", "dropped child 1"]);
    });
}

#[test]
fn kill_runs_no_hook() {
    let journal = Journal::default();
    paused(async {
        let mut tree = Tree::new("tree");
        child(&mut tree, "child", &Habits::default(), Shutdown::Kill, &journal);
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        assert_eq!(running.stop().await, ExitReason::Normal);
        assert_eq!(journal.lines(), ["started child 1", "dropped child 1"]);
    });
}

#[test]
fn panics_in_the_hooks_and_the_destructor_do_not_hinder_the_stop_of_others() {
    let journal = Journal::default();
    let bad = [
        Habits { panic_in_stopping: true, panic_in_drop: true, ..Habits::default() },
        Habits { panic_in_stopped: true, panic_in_drop: true, ..Habits::default() },
        Habits { panic_in_drop: true, ..Habits::default() },
    ];
    paused(async {
        let mut tree = Tree::new("tree");
        child(&mut tree, "good", &Habits::default(), Shutdown::default(), &journal);
        for (number, habits) in bad.iter().enumerate() {
            child(&mut tree, &format!("bad-{number}"), habits, Shutdown::default(), &journal);
        }
        child(&mut tree, "killed", &bad[2], Shutdown::Kill, &journal);
        let mut running = RunningTree::start(tree);
        running.running("killed", 0).await;
        assert_eq!(running.stop().await, ExitReason::Normal);
        assert_eq!(journal.lines().last().unwrap(), "dropped good 1");
        assert!(journal.lines().contains(&"stopped good 1".to_owned()));
    });
}

#[test]
fn queued_messages_whose_destructors_panic_do_not_hinder_the_stop() {
    paused(async {
        let mut tree = Tree::new("tree");
        let child = child(&mut tree, "child", &Habits::default(), Shutdown::Kill, &Journal::default());
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        child.try_send(Nap(Duration::from_secs(3600))).unwrap();
        child.try_send(Fused).unwrap();
        child.try_send(Fused).unwrap();
        let behind = child.send(Count);
        let (exit, behind) = tokio::join!(running.stop(), soon(behind));
        assert_eq!((exit, behind), (ExitReason::Normal, Err(SendError::GivenUp)));
    });
}

#[test]
fn a_tree_that_is_dropped_takes_its_children_with_it() {
    let journal = Journal::default();
    paused(async {
        let mut inner = Tree::new("inner");
        child(&mut inner, "deep", &Habits::default(), Shutdown::default(), &journal);
        let mut tree = Tree::new("tree");
        let flat = child(&mut tree, "flat", &Habits::default(), Shutdown::default(), &journal);
        tree.tree(inner);
        let mut running = RunningTree::start(tree);
        running.running("inner", 0).await;
        running.abandon();
        let gone = |name: &str| journal.lines().contains(&format!("dropped {name} 1"));
        until(|| gone("flat") && gone("inner/deep")).await;
        assert_eq!(soon(flat.send(Count)).await, Err(SendError::GivenUp));
    });
}
