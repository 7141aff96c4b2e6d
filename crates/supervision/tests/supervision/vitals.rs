//! Children that show no sign of life.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use boshy_supervision::{ChildState, ExitReason, Placement, Tree, Vitals};

use crate::{driver::*, journal::Journal, probe::*};

/// Much longer than a loaded machine keeps a thread waiting in a test, and much shorter than the test's deadline.
const BOUND: Duration = Duration::from_millis(500);

fn names(vitals: &Vitals) -> Vec<String> {
    vitals.stuck().into_iter().map(|stuck| stuck.child).collect()
}

/// Waits on this thread, which is not the tree's.
fn wait_for(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(30), "in good time");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_child_that_blocks_the_shared_thread_is_named_before_those_that_it_blocks() {
    let mut tree = Tree::new("tree");
    let habits = Habits::default();
    let blocker = tree.child("blocker", Probe::factory(&habits, &Journal::default())).silent_for(BOUND).add();
    tree.child("apart", Probe::factory(&habits, &Journal::default())).on(Placement::OwnThread).silent_for(BOUND).add();
    tree.task("victim", |heart| async move { heart.rest(std::future::pending::<()>()).await }).silent_for(BOUND).add();
    let (vitals, status) = (tree.vitals(), tree.status());
    let (release, blocked) = mpsc::channel();
    let observer = thread::spawn(move || {
        wait_for(|| names(&vitals) == ["blocker", "victim"]);
        let first = vitals.stuck()[0].to_string();
        assert!(first.starts_with("blocker has blocked its thread for"), "{first}");
        // The status reports it as well, although the tree's thread is the blocked one.
        wait_for(|| status.borrow().children[0].stuck.is_some());
        drop(release);
        wait_for(|| names(&vitals).is_empty());
        wait_for(|| status.borrow().children.iter().all(|child| child.stuck.is_none()));
    });
    real(async {
        let mut running = RunningTree::start(tree);
        running.running("victim", 0).await;
        blocker.try_send(Block(blocked)).unwrap();
        until(|| observer.is_finished()).await;
        observer.join().unwrap();
        // A thread cannot be killed, and the one that was released continues where it was.
        assert!(running.status().children.iter().all(|child| child.restarts == 0));
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn an_actor_that_waits_for_what_never_comes_is_restarted_because_its_thread_goes_on() {
    real(async {
        let mut tree = Tree::new("tree");
        let make = Probe::factory(&Habits::default(), &Journal::default());
        let child = tree.child("child", make).silent_for(BOUND).add();
        let mut running = RunningTree::start(tree);
        child.try_send(Nap(Duration::MAX)).unwrap();
        assert_eq!(child.send(Count).await.unwrap().generation, 2);
        let fallen = running.running("child", 1).await;
        let exit = fallen.last_exit.unwrap();
        assert!(exit.starts_with("failed: child has shown no life for") && exit.ends_with("mailbox"), "{exit}");
        running.until("child", |child| child.stuck.is_none()).await;
    });
}

#[test]
fn a_task_whose_heart_stops_is_restarted_and_one_that_rests_is_not() {
    real(async {
        let mut tree = Tree::new("tree");
        tree.task("stops", |heart| async move {
            heart.beat();
            std::future::pending::<()>().await;
        })
        .silent_for(BOUND)
        .add();
        tree.task("rests", |heart| async move { heart.rest(std::future::pending::<()>()).await })
            .silent_for(BOUND)
            .add();
        let mut running = RunningTree::start(tree);
        let fallen = running.running("stops", 2).await;
        assert!(fallen.last_exit.unwrap().ends_with("round"));
        assert_eq!(running.status().children[1].restarts, 0);
    });
}

#[test]
fn a_life_that_waits_for_a_stuck_predecessor_is_told_too() {
    real(async {
        let mut tree = Tree::new("tree");
        let make = Probe::factory(&Habits::default(), &Journal::default());
        let child = tree.child("child", make).on(Placement::OwnThread).silent_for(BOUND).add();
        let (vitals, saboteur) = (tree.vitals(), tree.saboteur());
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        let (release, blocked) = mpsc::channel();
        child.try_send(Block(blocked)).unwrap();
        until(|| names(&vitals) == ["child"]).await;
        drop(release);
        until(|| names(&vitals).is_empty()).await;
        assert!(saboteur.stick_child("child", BOUND * 3));
        until(|| names(&vitals) == ["child"]).await;
        until(|| names(&vitals).is_empty()).await;
        assert_eq!(running.status().children[0].state, ChildState::Running);
    });
}
