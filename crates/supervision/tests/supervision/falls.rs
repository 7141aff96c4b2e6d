//! A fall costs the fallen child its state and one message its answer, and affects no other child.

use std::time::Duration;

use boshy_supervision::{Backoff, ChildRef, ChildState, ExitReason, SendError, Tree};

use crate::{driver::*, journal::Journal, probe::*};

struct Pair {
    victim: ChildRef<Probe>,
    sibling: ChildRef<Probe>,
    running: RunningTree,
}

async fn pair(habits: &Habits, journal: &Journal) -> Pair {
    let mut tree = Tree::new("pair");
    let sibling = tree.child("sibling", Probe::factory(&Habits::default(), &Journal::default())).add();
    let victim = tree.child("victim", Probe::factory(habits, journal)).add();
    let mut running = RunningTree::start(tree);
    running.running("victim", 0).await;
    Pair { victim, sibling, running }
}

/// The victim is used, dies in this way, and answers as a new life; its sibling notices nothing.
fn comes_back_fresh(end: End, answer: Result<(), SendError>, reason: &str) {
    paused(async {
        let Pair { victim, sibling, mut running } = pair(&Habits::default(), &Journal::default()).await;
        assert_eq!(sibling.send(Count).await.unwrap().count, 1);
        assert_eq!(victim.send(Count).await.unwrap().count, 1);
        assert_eq!(victim.send(Count).await.unwrap().count, 2);

        assert_eq!(soon(victim.send(Die(end))).await, answer);
        let fallen = running.running("victim", 1).await;
        assert_eq!(fallen.last_exit.as_deref(), Some(reason));
        assert_eq!(fallen.restarts, 1);

        let reborn = soon(victim.send(Count)).await.unwrap();
        assert_eq!((reborn.generation, reborn.count), (2, 1));
        let steady = sibling.send(Count).await.unwrap();
        assert_eq!((steady.generation, steady.count), (1, 2));
        assert_eq!(running.status().children[0].restarts, 0);
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn a_panic_in_a_handler_restarts_the_actor_alone() {
    comes_back_fresh(End::Handler, Err(SendError::Lost), "panicked: deliberate: in a handler");
}

#[test]
fn a_panic_in_a_spawned_future_restarts_the_actor_alone() {
    comes_back_fresh(End::Spawned, Ok(()), "panicked: deliberate: in a future");
}

#[test]
fn a_panic_in_run_later_restarts_the_actor_alone() {
    comes_back_fresh(End::Later, Ok(()), "panicked: deliberate: in run_later");
}

#[test]
fn a_panic_in_run_interval_restarts_the_actor_alone() {
    comes_back_fresh(End::Interval, Ok(()), "panicked: deliberate: in run_interval");
}

#[test]
fn a_panic_in_ctx_wait_restarts_the_actor_alone() {
    comes_back_fresh(End::Wait, Ok(()), "panicked: deliberate: in a future");
}

#[test]
fn a_panic_in_a_response_act_future_restarts_the_actor_alone() {
    comes_back_fresh(End::ActFuture, Err(SendError::Lost), "panicked: deliberate: in a future");
}

#[test]
fn a_panic_payload_whose_destructor_panics_is_contained() {
    comes_back_fresh(End::HandlerWithGrenade, Err(SendError::Lost), "panicked: without a text");
}

#[test]
fn a_failure_is_told_with_its_causes() {
    comes_back_fresh(End::Fail, Ok(()), "failed: reading the table: invalid digit found in string");
}

#[test]
fn a_permanent_child_that_stops_by_itself_is_restarted() {
    comes_back_fresh(End::Stop, Ok(()), "ended normally");
    comes_back_fresh(End::Terminate, Ok(()), "ended normally");
}

#[test]
fn a_cancellation_pending_at_death_does_not_reach_the_next_life() {
    let journal = Journal::default();
    let habits = Habits { tick: Some(Duration::from_secs(1)), ..Habits::default() };
    paused(async {
        let Pair { victim, mut running, .. } = pair(&habits, &journal).await;
        assert_eq!(victim.send(Die(End::AfterCancel)).await, Err(SendError::Lost));
        running.running("victim", 1).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(journal.lines().iter().filter(|line| *line == "tick victim 2").count(), 2);
    });
}

#[test]
fn timers_and_messages_of_a_dead_life_change_nothing() {
    let journal = Journal::default();
    let habits = Habits { tick: Some(Duration::from_secs(1)), ..Habits::default() };
    paused(async {
        let Pair { victim, mut running, .. } = pair(&habits, &journal).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(journal.lines().contains(&"tick victim 1".to_owned()));
        assert_eq!(victim.send(Die(End::AfterNotify)).await, Err(SendError::Lost));
        running.running("victim", 1).await;
        journal.clear();
        tokio::time::sleep(Duration::from_millis(3500)).await;
        assert_eq!(journal.lines(), ["tick victim 2"; 3]);
    });
}

#[test]
fn a_panic_in_started_restarts_the_actor_alone() {
    let habits = Habits { panic_in_started: |generation| generation < 3, ..Habits::default() };
    paused(async {
        let Pair { victim, sibling, mut running } = pair(&habits, &Journal::default()).await;
        assert_eq!(soon(victim.send(Count)).await.unwrap().generation, 3);
        let exit = running.running("victim", 2).await.last_exit;
        assert_eq!(exit.as_deref(), Some("panicked: deliberate: in started"));
        assert_eq!(sibling.send(Count).await.unwrap().generation, 1);
    });
}

#[test]
fn a_failure_in_started_ends_the_life_before_its_first_message() {
    let journal = Journal::default();
    let habits = Habits { fail_in_started: |generation| generation < 3, ..Habits::default() };
    paused(async {
        let Pair { victim, mut running, .. } = pair(&habits, &journal).await;
        soon(victim.send(Note(1))).await.unwrap();
        let exit = running.running("victim", 2).await.last_exit;
        assert_eq!(exit.as_deref(), Some("failed: no table yet"));
        assert_eq!(journal.lines().last().unwrap(), "note 1 victim 3");
    });
}

#[test]
fn a_panic_in_the_factory_is_a_fall_like_any_other() {
    let habits = Habits { panic_in_factory: |generation| generation < 3, ..Habits::default() };
    paused(async {
        let Pair { victim, sibling, mut running } = pair(&habits, &Journal::default()).await;
        assert_eq!(soon(victim.send(Count)).await.unwrap().generation, 3);
        let exit = running.running("victim", 2).await.last_exit;
        assert_eq!(exit.as_deref(), Some("panicked: deliberate: in the factory"));
        assert_eq!(sibling.send(Count).await.unwrap().generation, 1);
    });
}

#[test]
fn a_panic_in_a_plain_response_future_costs_only_its_caller() {
    paused(async {
        let Pair { victim, running, .. } = pair(&Habits::default(), &Journal::default()).await;
        assert_eq!(victim.send(FailToReply).await, Err(SendError::Lost));
        assert_eq!(victim.send(Count).await.unwrap().generation, 1);
        assert_eq!(running.status().children[1].restarts, 0);
    });
}

#[test]
fn no_hook_of_a_panicked_life_runs() {
    let journal = Journal::default();
    paused(async {
        let Pair { victim, mut running, .. } = pair(&Habits::default(), &journal).await;
        assert_eq!(victim.send(Die(End::Handler)).await, Err(SendError::Lost));
        running.running("victim", 1).await;
        assert_eq!(journal.lines(), ["started victim 1", "dropped victim 1", "started victim 2"]);
    });
}

#[test]
fn a_life_that_would_not_stop_takes_no_message_after_its_panic() {
    let journal = Journal::default();
    let habits = Habits { linger: Some(Duration::from_secs(1)), ..Habits::default() };
    paused(async {
        let Pair { victim, mut running, .. } = pair(&habits, &journal).await;
        victim.try_send(Die(End::Handler)).unwrap();
        victim.try_send(Die(End::Handler)).unwrap();
        victim.try_send(Note(7)).unwrap();
        running.running("victim", 2).await;
        assert!(journal.lines().contains(&"note 7 victim 3".to_owned()), "{:?}", journal.lines());
    });
}

#[test]
fn a_panic_in_drop_after_a_panic_neither_aborts_nor_prevents_the_restart() {
    let habits = Habits { panic_in_drop: true, ..Habits::default() };
    paused(async {
        let Pair { victim, mut running, .. } = pair(&habits, &Journal::default()).await;
        assert_eq!(victim.send(Die(End::Handler)).await, Err(SendError::Lost));
        let exit = running.running("victim", 1).await.last_exit;
        assert_eq!(exit.as_deref(), Some("panicked: deliberate: in a handler"));
        assert_eq!(soon(victim.send(Count)).await.unwrap().generation, 2);
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn a_panic_in_stopping_or_stopped_is_a_fall_like_any_other() {
    for habits in [
        Habits { panic_in_stopping: true, panic_in_drop: true, ..Habits::default() },
        Habits { panic_in_stopped: true, panic_in_drop: true, ..Habits::default() },
    ] {
        paused(async {
            let Pair { victim, mut running, .. } = pair(&habits, &Journal::default()).await;
            victim.send(Die(End::Stop)).await.unwrap();
            let exit = running.running("victim", 1).await.last_exit.unwrap();
            assert!(exit.starts_with("panicked: deliberate: in stop"), "{exit}");
            assert_eq!(soon(victim.send(Count)).await.unwrap().generation, 2);
        });
    }
}

#[test]
fn a_storm_of_restarts_does_not_starve_siblings() {
    let habits = Habits { panic_in_started: |_| true, ..Habits::default() };
    real(async {
        let mut tree = Tree::new("storm").intensity(u32::MAX, Duration::from_secs(1));
        let _storm = tree.child("storm", Probe::factory(&habits, &Journal::default())).backoff(Backoff::NONE).add();
        let sibling = tree.child("sibling", Probe::factory(&Habits::default(), &Journal::default())).add();
        let mut running = RunningTree::start(tree);
        running.until("storm", |child| child.restarts > 10).await;
        let before = running.status().children[0].restarts;
        for _ in 0..1000 {
            assert_eq!(sibling.send(Count).await.unwrap().generation, 1);
        }
        // It kept running all the while.
        assert!(running.status().children[0].restarts > before);
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn every_restart_is_logged_with_child_reason_and_count() {
    paused(async {
        let mut tree = Tree::new("tree");
        let child = tree.child("recorded", Probe::factory(&Habits::default(), &Journal::default())).add();
        let mut running = RunningTree::start(tree);
        for restarts in 1..=2 {
            assert_eq!(child.send(Die(End::Handler)).await, Err(SendError::Lost));
            running.running("recorded", restarts).await;
        }
    });
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    for restarts in 1..=2 {
        let line = format!("child=\"recorded\" reason=panicked: deliberate: in a handler restarts={restarts} ");
        assert_eq!(log.lines().filter(|entry| entry.contains(&line)).count(), 1, "{log}");
    }
}

#[test]
fn a_saboteur_reaches_any_child_by_name() {
    paused(async {
        let mut inner = Tree::new("inner");
        let deep = inner.child("deep", Probe::factory(&Habits::default(), &Journal::default())).add();
        let mut tree = Tree::new("outer");
        // Taken first, because a child that serves the switch is declared after it.
        let saboteur = tree.saboteur();
        let flat = tree.child("flat", Probe::factory(&Habits::default(), &Journal::default())).add();
        tree.tree(inner);
        assert!(!saboteur.panic_child("flat"), "it has no life yet");
        let mut running = RunningTree::start(tree);
        running.running("inner", 0).await;

        assert!(!saboteur.panic_child("nobody"));
        assert!(saboteur.panic_child("inner/deep"));
        running.running("inner/deep", 1).await;
        assert_eq!(deep.send(Count).await.unwrap().generation, 2);

        // Even a child that waits for something that never happens.
        flat.try_send(Nap(Duration::from_secs(3600))).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(saboteur.panic_child("flat"));
        let fallen = running.running("flat", 1).await;
        assert_eq!(fallen.last_exit.as_deref(), Some("panicked: sabotage"));
        assert_eq!(flat.send(Count).await.unwrap().generation, 2);
        assert_eq!(fallen.state, ChildState::Running);
    });
}
