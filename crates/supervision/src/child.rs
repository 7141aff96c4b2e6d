//! A child specification at work: how each kind of child begins a life and ends for good.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, Context};
use actix_rt::{Arbiter, ArbiterHandle, System};

use crate::{
    ExitReason, Link,
    board::Board,
    life::{self, Inbox, Seat, live},
    orders::Present,
    policy::{Placement, Shutdown},
    roster::Terms,
    supervise::supervise,
    tree::Tree,
};

/// Anything that can be supervised.
pub(crate) trait Body {
    /// Orders a new life; whatever goes wrong is told through the seat.
    fn begin(&self, seat: Seat, board: &Board);
    /// No further life will be ordered.
    fn close(&self);
}

pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) terms: Terms,
    pub(crate) shutdown: Shutdown,
    pub(crate) body: Box<dyn Body>,
    /// Lives so far. It outlives a fall of the tree, as does the next.
    pub(crate) generation: Cell<u64>,
    pub(crate) ended: Cell<bool>,
    pub(crate) present: Present,
}

impl Child {
    /// Ends the child for good.
    pub(crate) fn close(&self) {
        if !self.ended.replace(true) {
            self.body.close();
        }
    }
}

/// Makes the fresh actor of each life.
pub(crate) type Factory<A> = Arc<dyn Fn(&Link) -> A + Send + Sync>;

pub(crate) struct ActorBody<A: Actor> {
    pub(crate) factory: Factory<A>,
    pub(crate) inbox: Inbox<A>,
    pub(crate) placement: Placement,
    /// Kept from life to life while it lives.
    pub(crate) thread: RefCell<Option<ArbiterHandle>>,
}

impl<A: Actor<Context = Context<A>>> ActorBody<A> {
    /// The child's own thread, a new one if it has none that lives.
    fn own_thread(&self) -> Result<ArbiterHandle, String> {
        let mut thread = self.thread.borrow_mut();
        if let Some(arbiter) = thread.as_ref().filter(|arbiter| arbiter.alive()) {
            return Ok(arbiter.clone());
        }
        if System::try_current().is_none() {
            return Err("own thread: no actix System runs here".to_owned());
        }
        let arbiter = Arbiter::try_new().map_err(|error| format!("own thread: {error}"))?.handle();
        *thread = Some(arbiter.clone());
        Ok(arbiter)
    }
}

impl<A: Actor<Context = Context<A>>> Body for ActorBody<A> {
    fn begin(&self, seat: Seat, _: &Board) {
        let (factory, inbox) = (Arc::clone(&self.factory), Arc::clone(&self.inbox));
        let start = move |seat| {
            actix_rt::spawn(live(move |link| factory(link), inbox, seat));
        };
        match self.placement {
            Placement::Shared => start(seat),
            Placement::OwnThread => match self.own_thread() {
                // Should the thread end just now, the seat is dropped with the work, which tells the death.
                Ok(thread) => _ = thread.spawn_fn(move || start(seat)),
                Err(text) => _ = seat.died.send(ExitReason::Failed(text)),
            },
        }
    }

    fn close(&self) {
        life::close(&self.inbox);
        self.end_thread();
    }
}

impl<A: Actor> ActorBody<A> {
    fn end_thread(&self) {
        if let Some(thread) = self.thread.borrow_mut().take() {
            thread.stop();
        }
    }
}

impl<A: Actor> Drop for ActorBody<A> {
    /// A tree whose future is dropped closes nothing.
    fn drop(&mut self) {
        self.end_thread();
    }
}

/// A tree within a tree.
pub(crate) struct Nested(pub(crate) Rc<Tree>);

impl Nested {
    /// Its children stop within deadlines of their own.
    pub(crate) const SHUTDOWN: Shutdown = Shutdown::Drain(Duration::MAX);
}

impl Body for Nested {
    fn begin(&self, seat: Seat, board: &Board) {
        let (tree, board) = (Rc::clone(&self.0), board.clone());
        actix_rt::spawn(async move {
            let Seat { link, orders, born, died } = seat;
            let prefix = format!("{}/", link.name());
            let reason = supervise(&tree, &prefix, &board, orders.to_end(), Some(born)).await;
            // Nobody listens when the parent itself is gone.
            let _ = died.send(reason);
        });
    }

    fn close(&self) {
        self.0.close();
    }
}
