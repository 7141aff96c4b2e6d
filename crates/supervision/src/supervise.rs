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
    life::Seat,
    orders::{Order, Orders, Ties},
    roster::{Phase, Reaction, Roster},
    spec::{Child, SupervisorSpec},
};

/// How long a killed child is awaited. One that has not ended by then is stuck on its own thread and is left behind.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// A life from its supervisor's side. Dropping it kills the life.
struct Life {
    orders: Arc<Orders>,
    /// `None` once it was received.
    started: Option<oneshot::Receiver<()>>,
    exited: oneshot::Receiver<ExitReason>,
}

impl Life {
    fn poll(&mut self, task: &mut Context<'_>) -> Poll<ChildEvent> {
        if let Some(started) = &mut self.started
            && let Poll::Ready(told) = Pin::new(started).poll(task)
        {
            self.started = None;
            if told.is_ok() {
                return Poll::Ready(ChildEvent::Started);
            }
        }
        Pin::new(&mut self.exited).poll(task).map(|told| ChildEvent::Exited(told.unwrap_or(ExitReason::Killed)))
    }

    async fn stop(mut self, shutdown: Shutdown) -> Option<ExitReason> {
        if let Shutdown::Drain(deadline) = shutdown {
            self.orders.give(Order::Drain);
            if let Ok(told) = timeout(deadline, &mut self.exited).await {
                return Some(told.unwrap_or(ExitReason::Killed));
            }
        }
        self.orders.give(Order::Kill);
        let told = timeout(KILLED_WITHIN, &mut self.exited).await.ok()?;
        Some(told.unwrap_or(ExitReason::Killed))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.orders.give(Order::Kill);
    }
}

/// What a life tells its supervisor.
enum ChildEvent {
    Started,
    Exited(ExitReason),
}

enum Event {
    Shutdown,
    Child(usize, ChildEvent),
    Due,
}

/// Runs a tree until it is asked to stop or gives up; in both cases no child is alive afterwards. `up` is notified once
/// every child has had its turn.
pub(crate) async fn supervise(
    spec: &SupervisorSpec,
    prefix: &str,
    board: &Board,
    shutdown: impl Future<Output = ()>,
    up: Option<oneshot::Sender<()>>,
) -> ExitReason {
    let terms = spec.children.iter().map(|child| (child.terms, child.ended.get()));
    let roster = Roster::new(spec.strategy, spec.intensity, terms);
    let lives = spec.children.iter().map(|_| None).collect();
    Supervisor { spec, prefix, board, roster, lives }.run(shutdown, up).await
}

struct Supervisor<'a> {
    spec: &'a SupervisorSpec,
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
                Event::Child(child, ChildEvent::Started) => {
                    self.roster.started(child, Instant::now());
                    self.show(child, ChildState::Running);
                    true
                }
                Event::Child(child, ChildEvent::Exited(reason)) => self.exited(child, &reason).await,
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
                    && let Poll::Ready(event) = life.poll(task)
                {
                    return Poll::Ready(Event::Child(child, event));
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
        let (started, hear_started) = oneshot::channel();
        let (exited, hear_exited) = oneshot::channel();
        let link = Link::new(self.path(index), generation, child.silence);
        child.present.set(Some(Ties { orders: Arc::clone(&orders), link: link.clone() }));
        child.body.begin(Seat { link, orders: Arc::clone(&orders), started, exited }, self.board);
        self.lives[index] = Some(Life { orders, started: Some(hear_started), exited: hear_exited });
        self.roster.starting(index);
        self.board.update(&self.path(index), |status| {
            status.state = ChildState::Starting;
            status.restarts = generation - 1;
        });
    }

    /// Handles an exit that nobody asked for. Returns false when the tree gave up.
    async fn exited(&mut self, index: usize, reason: &ExitReason) -> bool {
        self.gone(index, reason);
        let reaction = self.roster.exited(index, reason, Instant::now(), rand::random());
        let (path, restarts) = (self.path(index), self.child(index).generation.get());
        match reaction {
            Reaction::LeaveTerminated => {
                tracing::info!(child = path, %reason, "child ended");
                self.end(index);
                true
            }
            Reaction::Restart { after, terminate } => {
                tracing::warn!(child = path, %reason, restarts, ?after, "restarting child");
                self.show(index, ChildState::BackingOff);
                for sibling in terminate {
                    tracing::info!(child = self.path(sibling), fallen = path, "restarting child after one before it");
                    self.stop(sibling).await;
                    self.show(sibling, ChildState::Starting);
                    if self.roster.phase(sibling) == Phase::Ended {
                        self.end(sibling);
                    }
                }
                true
            }
            Reaction::Shutdown => {
                tracing::error!(child = path, %reason, tree = self.spec.name, "too many restarts: giving up");
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
        &self.spec.children[index]
    }

    fn path(&self, index: usize) -> String {
        format!("{}{}", self.prefix, self.child(index).name)
    }
}
