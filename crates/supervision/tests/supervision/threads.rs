//! Children on their own threads.

use std::{
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use boshy_supervision::{ChildRef, ChildState, ExitReason, Link, Placement, SendError, Shutdown, Tree};
use futures::future::join_all;

use crate::{driver::*, journal::Journal, probe::*};

fn apart(habits: &Habits, journal: &Journal) -> (ChildRef<Probe>, Tree) {
    let mut tree = Tree::new("tree");
    let drain = Shutdown::Drain(Duration::from_millis(50));
    let child = tree.child("child", Probe::factory(habits, journal)).on(Placement::OwnThread).shutdown(drain).add();
    (child, tree)
}

#[test]
fn a_child_on_its_own_thread_falls_and_comes_back_like_any_other() {
    let journal = Journal::default();
    real(async {
        let (child, tree) = apart(&Habits::default(), &journal);
        let mut running = RunningTree::start(tree);
        let first = child.send(Count).await.unwrap();
        assert_ne!(first.thread, thread::current().id());
        for end in [End::Handler, End::Wait] {
            let _ = child.send(Die(end)).await;
        }
        running.running("child", 2).await;
        let third = child.send(Count).await.unwrap();
        assert_eq!((third.generation, third.count, third.thread), (3, 1, first.thread));
        assert_eq!(running.stop().await, ExitReason::Normal);
        assert!(journal.lines().contains(&"stopped child 3".to_owned()));
    });
}

#[test]
fn a_thread_that_dies_is_noticed_and_replaced_and_the_queue_survives() {
    let journal = Journal::default();
    real(async {
        let (child, tree) = apart(&Habits { panic_in_drop: true, ..Habits::default() }, &journal);
        let mut running = RunningTree::start(tree);
        let first = child.send(Count).await.unwrap();
        child.send(Die(End::Thread)).await.unwrap();
        for answer in join_all((0..100).map(|_| child.send(Count))).await {
            let tally = answer.unwrap();
            assert_eq!(tally.generation, 2);
            assert_ne!(tally.thread, first.thread);
        }
        let fallen = running.running("child", 1).await;
        assert_eq!(fallen.last_exit.as_deref(), Some("killed"));
        assert!(!journal.lines().iter().any(|line| line.starts_with("stop")), "no hook: {:?}", journal.lines());
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn a_child_begins_only_when_the_one_before_it_has_begun_on_whatever_thread() {
    let journal = Journal::default();
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    real(async {
        let mut tree = Tree::new("tree");
        let make = Probe::factory(&Habits::default(), &journal);
        let slow = move |link: &Link| {
            let _ = blocked.lock().unwrap().recv();
            make(link)
        };
        let slow = tree.child("slow", slow).on(Placement::OwnThread).add();
        let next = tree.child("next", Probe::factory(&Habits::default(), &journal)).add();
        let _running = RunningTree::start(tree);
        let next = actix_rt::spawn(async move { next.send(Count).await });
        // Enough turns for the tree to start a child on this thread.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(journal.lines(), Vec::<String>::new());
        drop(release);
        next.await.unwrap().unwrap();
        slow.send(Count).await.unwrap();
        assert_eq!(journal.lines(), ["started slow 1", "started next 1"]);
    });
}

#[test]
fn the_thread_of_a_dropped_tree_ends() {
    let journal = Journal::default();
    real(async {
        let (child, tree) = apart(&Habits::default(), &journal);
        let running = RunningTree::start(tree);
        child.send(Count).await.unwrap();
        running.abandon();
        // Its queue closes only when the life has ended, and the life ends with its thread.
        until(|| child.try_send(Count) == Err(SendError::GivenUp)).await;
        assert_eq!(journal.lines(), ["started child 1", "dropped child 1"]);
    });
}

#[test]
fn a_stuck_child_is_left_behind_at_the_stop_and_takes_no_message_once_it_gets_loose() {
    let journal = Journal::default();
    real(async {
        let (child, tree) = apart(&Habits::default(), &journal);
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        let (release, blocked) = mpsc::channel();
        child.try_send(Block(blocked)).unwrap();
        child.try_send(Note(1)).unwrap();
        assert_eq!(running.stop().await, ExitReason::Normal);
        drop(release);
        assert_eq!(child.send(Count).await, Err(SendError::GivenUp));
        assert_eq!(journal.lines(), ["started child 1", "dropped child 1"]);
    });
}

#[test]
fn without_an_actix_system_there_is_no_thread_and_the_tree_gives_up() {
    prepare();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_child, tree) = apart(&Habits::default(), &Journal::default());
    let status = tree.status();
    let exit = tokio::task::LocalSet::new().block_on(&runtime, tree.run_until(std::future::pending()));
    assert_eq!(exit, ExitReason::GaveUp);
    let child = status.borrow().children[0].clone();
    assert_eq!(child.state, ChildState::GaveUp);
    assert_eq!(child.last_exit.as_deref(), Some("failed: own thread: no actix System runs here"));
}
