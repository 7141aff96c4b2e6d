//! The queue belongs to the child, not to a life.

use std::{thread, time::Duration};

use boshy_supervision::{ChildRef, ExitReason, Restart, SendError, Tree};
use futures::future::join_all;

use crate::{driver::*, journal::Journal, probe::*};

const _: fn() = || {
    fn shared_between_threads<T: Clone + Send + Sync + 'static>() {}
    shared_between_threads::<ChildRef<Probe>>();
};

fn lone(name: &str, queue: usize, restart: Restart, journal: &Journal) -> (ChildRef<Probe>, Tree) {
    let mut tree = Tree::new("lone");
    let child = tree.child(name, Probe::factory(&Habits::default(), journal)).queue(queue).restart(restart).add();
    (child, tree)
}

#[test]
fn ten_thousand_messages_behind_a_panic_are_all_answered() {
    paused(async {
        let (child, tree) = lone("child", 10_001, Restart::Permanent, &Journal::default());
        let hand = child.send(Die(End::Handler));
        let queued = join_all((0..10_000).map(|_| child.send(Count)));
        let _running = RunningTree::start(tree);
        let (hand, queued) = soon(async { tokio::join!(hand, queued) }).await;
        assert_eq!(hand, Err(SendError::Lost));
        let mut counts: Vec<_> = queued.into_iter().map(|answer| answer.unwrap()).collect();
        counts.sort_by_key(|tally| tally.count);
        for (tally, expected) in counts.iter().zip(1..=10_000) {
            assert_eq!((tally.generation, tally.count), (2, expected));
        }
    });
}

#[test]
fn messages_keep_their_order_across_lives() {
    let journal = Journal::default();
    paused(async {
        let (child, tree) = lone("child", 3000, Restart::Permanent, &journal);
        for number in 0..1000 {
            child.try_send(Note(number)).unwrap();
        }
        child.try_send(Die(End::Handler)).unwrap();
        for number in 1000..2000 {
            child.try_send(Note(number)).unwrap();
        }
        let _running = RunningTree::start(tree);
        child.send(Count).await.unwrap();
        let notes: Vec<_> = journal.lines().into_iter().filter(|line| line.starts_with("note")).collect();
        let expected: Vec<_> =
            (0..2000).map(|number| format!("note {number} child {}", if number < 1000 { 1 } else { 2 })).collect();
        assert_eq!(notes, expected);
    });
}

#[test]
fn callers_that_wait_for_room_reach_the_next_life_too() {
    paused(async {
        let (child, tree) = lone("child", 1, Restart::Permanent, &Journal::default());
        let hand = child.send(Die(End::Handler));
        let waiting = join_all((0..100).map(|_| child.send(Count)));
        let _running = RunningTree::start(tree);
        let (hand, waiting) = soon(async { tokio::join!(hand, waiting) }).await;
        assert_eq!(hand, Err(SendError::Lost));
        assert!(waiting.into_iter().all(|answer| answer.unwrap().generation == 2));
    });
}

#[test]
fn messages_wait_while_the_actor_waits_and_keep_their_order() {
    let journal = Journal::default();
    paused(async {
        let (child, tree) = lone("child", 16, Restart::Permanent, &journal);
        let _running = RunningTree::start(tree);
        child.send(Note(1)).await.unwrap();
        child.try_send(Nap(Duration::from_secs(5))).unwrap();
        child.try_send(Note(2)).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        child.try_send(Note(3)).unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(journal.lines().last().unwrap(), "note 1 child 1");
        child.send(Note(4)).await.unwrap();
        let expected = ["note 1 child 1", "woke child 1", "note 2 child 1", "note 3 child 1", "note 4 child 1"];
        assert_eq!(journal.lines()[1..], expected);
    });
}

#[test]
fn an_idle_actor_wakes_for_messages_from_other_threads() {
    real(async {
        let (child, tree) = lone("child", 16, Restart::Permanent, &Journal::default());
        let mut running = RunningTree::start(tree);
        running.running("child", 0).await;
        let caller = thread::spawn(move || {
            let answers = (0..100).map(|_| futures::executor::block_on(child.send(Count)).unwrap().count);
            answers.collect::<Vec<_>>()
        });
        let answers = tokio::task::spawn_blocking(|| caller.join().unwrap()).await.unwrap();
        assert_eq!(answers, (1..=100).collect::<Vec<_>>());
    });
}

#[test]
fn a_full_queue_is_told_at_once() {
    let (child, _tree) = lone("child", 2, Restart::Permanent, &Journal::default());
    assert_eq!(child.try_send(Count), Ok(()));
    assert_eq!(child.try_send(Count), Ok(()));
    assert_eq!(child.try_send(Count), Err(SendError::Full));
}

#[test]
fn a_withdrawn_message_is_not_handled() {
    let journal = Journal::default();
    paused(async {
        let (child, tree) = lone("child", 16, Restart::Permanent, &journal);
        {
            let mut withdrawn = std::pin::pin!(child.send(Note(1)));
            assert!(futures::poll!(withdrawn.as_mut()).is_pending());
        }
        let _running = RunningTree::start(tree);
        child.send(Note(2)).await.unwrap();
        assert_eq!(journal.lines(), ["started child 1", "note 2 child 1"]);
    });
}

#[test]
fn an_ended_child_is_given_up_for_queued_waiting_and_later_messages() {
    paused(async {
        let (child, tree) = lone("child", 2, Restart::Temporary, &Journal::default());
        let hand = child.send(Die(End::Handler));
        let behind = join_all((0..5).map(|_| child.send(Count)));
        let mut running = RunningTree::start(tree);
        let (_, behind) = soon(async { tokio::join!(hand, behind) }).await;
        assert_eq!(behind, [Err(SendError::GivenUp); 5]);
        running.until("child", |child| child.last_exit.is_some()).await;
        assert_eq!(child.send(Count).await, Err(SendError::GivenUp));
        assert_eq!(child.try_send(Count), Err(SendError::GivenUp));
    });
}

#[test]
fn a_stopped_tree_gives_its_children_up() {
    paused(async {
        let (child, tree) = lone("child", 16, Restart::Permanent, &Journal::default());
        let running = RunningTree::start(tree);
        child.send(Count).await.unwrap();
        assert_eq!(running.stop().await, ExitReason::Normal);
        assert_eq!(child.send(Count).await, Err(SendError::GivenUp));
    });
}
