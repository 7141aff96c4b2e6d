//! Loops without a mailbox, and loops that an actor keeps.

use std::{io, time::Duration};

use actix::prelude::*;
use boshy_supervision::{ChildKind, ExitReason, Link, Placement, Restart, Tree};

use crate::driver::*;

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn a_task_falls_when_it_panics_fails_or_just_ends_and_each_life_begins_afresh() {
    for placement in [Placement::Shared, Placement::OwnThread] {
        real(async {
            let mut tree = Tree::new("tree").intensity(9, Duration::from_secs(60));
            let lives = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
            tree.task("task", move |heart| {
                let life = 1 + lives.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async move {
                    heart.rest(tokio::time::sleep(MOMENT)).await;
                    match life {
                        1 => panic!("deliberate: in a task"),
                        2 => Err(io::Error::other("no table")),
                        3 => Ok(()),
                        _ => std::future::pending().await,
                    }
                }
            })
            .on(placement)
            .add();
            let mut running = RunningTree::start(tree);
            let seen = running.until("task", |task| task.restarts == 1).await;
            assert_eq!(
                (seen.kind, seen.last_exit.as_deref()),
                (ChildKind::Task, Some("panicked: deliberate: in a task"))
            );
            let seen = running.until("task", |task| task.restarts == 2).await;
            assert_eq!(seen.last_exit.as_deref(), Some("failed: no table"));
            let seen = running.until("task", |task| task.restarts == 3).await;
            assert_eq!(seen.last_exit.as_deref(), Some("ended normally"));
            running.running("task", 3).await;
            assert_eq!(running.stop().await, ExitReason::Normal);
        });
    }
}

#[test]
fn a_task_that_cannot_even_begin_has_fallen() {
    paused(async {
        let mut tree = Tree::new("tree").intensity(1, Duration::from_secs(60));
        tree.task::<std::future::Pending<()>, _>("task", |_| panic!("deliberate: at the beginning")).add();
        assert_eq!(RunningTree::start(tree).ended().await, ExitReason::GaveUp);
    });
}

#[test]
fn a_task_that_may_end_is_not_begun_again() {
    paused(async {
        let mut tree = Tree::new("tree");
        tree.task("task", |_| async {}).restart(Restart::Transient).add();
        let mut running = RunningTree::start(tree);
        let ended = running.until("task", |task| task.last_exit.is_some()).await;
        assert_eq!((ended.restarts, ended.last_exit.as_deref()), (0, Some("ended normally")));
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}

#[test]
fn a_saboteur_reaches_a_task() {
    paused(async {
        let mut tree = Tree::new("tree");
        tree.task("task", |heart| async move { heart.rest(std::future::pending::<()>()).await }).add();
        let saboteur = tree.saboteur();
        let mut running = RunningTree::start(tree);
        running.running("task", 0).await;
        assert!(saboteur.panic_child("task"));
        assert_eq!(running.running("task", 1).await.last_exit.as_deref(), Some("panicked: sabotage"));
    });
}

/// Keeps a loop that ends in its own way in each of its first lives.
struct Keeper(Link);

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let life = self.0.generation();
        self.0.keep(ctx, "reading", move |heart| async move {
            heart.rest(tokio::time::sleep(MOMENT)).await;
            match life {
                1 => Ok(()),
                2 => Err(io::Error::other("no table")),
                3 => panic!("deliberate: in a kept loop"),
                _ => std::future::pending().await,
            }
        });
    }
}

#[test]
fn an_actor_falls_with_a_loop_that_it_keeps() {
    paused(async {
        let mut tree = Tree::new("tree").intensity(9, Duration::from_secs(60));
        let _keeper = tree.child("keeper", |link| Keeper(link.clone())).add();
        let mut running = RunningTree::start(tree);
        for (restarts, exit) in [
            (1, "failed: its loop ended: reading"),
            (2, "failed: no table"),
            (3, "panicked: deliberate: in a kept loop"),
        ] {
            let seen = running.until("keeper", |keeper| keeper.restarts == restarts).await;
            assert_eq!(seen.last_exit.as_deref(), Some(exit));
        }
        assert_eq!(running.stop().await, ExitReason::Normal);
    });
}
