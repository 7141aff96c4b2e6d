//! Carries out the roster's decisions: starts lives, receives their ends, stops them.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{
    ChildState, ExitReason, Link, Shutdown,
    board::Board,
    child::Child,
    life::Seat,
    orders::{Order, Orders, Ties},
    roster::{Phase, Roster, Verdict},
    tree::Tree,
};

/// How long a killed child is awaited. One that has not ended by then is stuck on its own thread and is left behind.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// A life from its supervisor's side. Dropping it kills the life.
struct Life {
    orders: Arc<Orders>,
    /// `None` once it was received.
    born: Option<oneshot::Receiver<()>>,
    died: oneshot::Receiver<ExitReason>,
}

impl Life {
    fn poll(&mut self, task: &mut Context<'_>) -> Poll<News> {
        if let Some(born) = &mut self.born
            && let Poll::Ready(told) = Pin::new(born).poll(task)
        {
            self.born = None;
            if told.is_ok() {
                return Poll::Ready(News::Born);
            }
        }
        Pin::new(&mut self.died).poll(task).map(|told| News::Died(told.unwrap_or(ExitReason::Killed)))
    }

    async fn stop(mut self, shutdown: Shutdown) -> Option<ExitReason> {
        if let Shutdown::Drain(deadline) = shutdown {
            self.orders.give(Order::Drain);
            if let Ok(told) = timeout(deadline, &mut self.died).await {
                return Some(told.unwrap_or(ExitReason::Killed));
            }
        }
        self.orders.give(Order::Kill);
        let told = timeout(KILLED_WITHIN, &mut self.died).await.ok()?;
        Some(told.unwrap_or(ExitReason::Killed))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.orders.give(Order::Kill);
    }
}

enum News {
    Born,
    Died(ExitReason),
}

enum Event {
    Shutdown,
    Child(usize, News),
    Due,
}

/// Runs a tree until it is asked to stop or gives up; in both cases no child is alive afterwards. `up` is notified once
/// every child has had its turn.
pub(crate) async fn supervise(
    tree: &Tree,
    prefix: &str,
    board: &Board,
    shutdown: impl Future<Output = ()>,
    up: Option<oneshot::Sender<()>>,
) -> ExitReason {
    let terms = tree.children.iter().map(|child| (child.terms, child.ended.get()));
    let roster = Roster::new(tree.strategy, tree.intensity, terms);
    let lives = tree.children.iter().map(|_| None).collect();
    Supervisor { tree, prefix, board, roster, lives }.run(shutdown, up).await
}

struct Supervisor<'a> {
    tree: &'a Tree,
    /// Path of the tree in the root's status.
    prefix: &'a str,
    board: &'a Board,
    roster: Roster,
    lives: Vec<Option<Life>>,
}

impl Supervisor<'_> {
    async fn run(mut self, shutdown: impl Future<Output = ()>, mut up: Option<oneshot::Sender<()>>) -> ExitReason {
        let mut shutdown = pin!(shutdown);
        loop {
            while let Some(child) = self.roster.next_start(Instant::now()) {
                self.begin(child);
            }
            if self.roster.is_up()
                && let Some(up) = up.take()
            {
                let _ = up.send(());
            }
            let bearable = match self.next_event(shutdown.as_mut()).await {
                Event::Shutdown => {
                    self.stop_all().await;
                    return ExitReason::Normal;
                }
                Event::Child(child, News::Born) => {
                    self.roster.born(child, Instant::now());
                    self.show(child, ChildState::Running);
                    true
                }
                Event::Child(child, News::Died(reason)) => self.fell(child, &reason).await,
                Event::Due => true,
            };
            if !bearable {
                return ExitReason::GaveUp;
            }
        }
    }

    async fn next_event(&mut self, mut shutdown: Pin<&mut impl Future<Output = ()>>) -> Event {
        let mut due: Pin<&mut Option<Sleep>> = pin!(self.roster.next_due().map(sleep_until));
        let lives = &mut self.lives;
        poll_fn(|task| {
            if shutdown.as_mut().poll(task).is_ready() {
                return Poll::Ready(Event::Shutdown);
            }
            for (child, life) in lives.iter_mut().enumerate() {
                if let Some(life) = life
                    && let Poll::Ready(news) = life.poll(task)
                {
                    return Poll::Ready(Event::Child(child, news));
                }
            }
            match due.as_mut().as_pin_mut() {
                Some(due) => due.poll(task).map(|()| Event::Due),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn begin(&mut self, index: usize) {
        let child = self.child(index);
        let generation = child.generation.get() + 1;
        child.generation.set(generation);
        let orders = Arc::new(Orders::default());
        let (born, hear_born) = oneshot::channel();
        let (died, hear_died) = oneshot::channel();
        let link = Link::new(self.path(index), generation, child.silence);
        child.present.set(Some(Ties { orders: Arc::clone(&orders), link: link.clone() }));
        child.body.begin(Seat { link, orders: Arc::clone(&orders), born, died }, self.board);
        self.lives[index] = Some(Life { orders, born: Some(hear_born), died: hear_died });
        self.roster.started(index);
        self.board.update(&self.path(index), |status| {
            status.state = ChildState::Starting;
            status.restarts = generation - 1;
        });
    }

    /// Handles a fall. Returns false when the tree gave up.
    async fn fell(&mut self, index: usize, reason: &ExitReason) -> bool {
        self.gone(index, reason);
        let verdict = self.roster.fell(index, reason, Instant::now(), rand::random());
        let (path, restarts) = (self.path(index), self.child(index).generation.get());
        match verdict {
            Verdict::End => {
                tracing::info!(child = path, %reason, "child ended");
                self.end(index);
                true
            }
            Verdict::Restart { after, stop } => {
                tracing::warn!(child = path, %reason, restarts, ?after, "restarting child");
                self.show(index, ChildState::BackingOff);
                for sibling in stop {
                    tracing::info!(child = self.path(sibling), fallen = path, "restarting child after one before it");
                    self.stop(sibling).await;
                    self.show(sibling, ChildState::Starting);
                    if self.roster.phase(sibling) == Phase::Ended {
                        self.end(sibling);
                    }
                }
                true
            }
            Verdict::GiveUp => {
                tracing::error!(child = path, %reason, tree = self.tree.name, "too many restarts: giving up");
                self.stop_all().await;
                self.show(index, ChildState::GaveUp);
                false
            }
        }
    }

    async fn stop_all(&mut self) {
        for index in (0..self.lives.len()).rev() {
            self.stop(index).await;
            self.show(index, ChildState::Stopped);
        }
    }

    async fn stop(&mut self, index: usize) {
        let Some(life) = self.lives[index].take() else { return };
        let told = life.stop(self.child(index).shutdown).await;
        if told.is_none() {
            tracing::error!(child = self.path(index), "does not stop: left behind");
        }
        self.gone(index, &told.unwrap_or(ExitReason::Killed));
    }

    fn gone(&mut self, index: usize, reason: &ExitReason) {
        self.lives[index] = None;
        self.child(index).present.set(None);
        self.board.update(&self.path(index), |status| {
            status.last_exit = Some(reason.to_string());
            status.stuck = None;
        });
    }

    fn end(&self, index: usize) {
        self.child(index).close();
        self.show(index, ChildState::Stopped);
    }

    fn show(&self, index: usize, state: ChildState) {
        self.board.update(&self.path(index), |status| status.state = state);
    }

    fn child(&self, index: usize) -> &Child {
        &self.tree.children[index]
    }

    fn path(&self, index: usize) -> String {
        format!("{}{}", self.prefix, self.child(index).name)
    }
}
