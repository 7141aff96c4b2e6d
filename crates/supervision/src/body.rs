//! How an actor and a task start a life and end for good.

use std::{cell::RefCell, future::Future, sync::Arc};

use actix::{Actor, Context};
use actix_rt::{Arbiter, ArbiterHandle, System};

use crate::{
    ExitReason, Heart, Link, Outcome,
    board::Board,
    life::{self, Inbox, Seat, live, perform},
    policy::Placement,
    spec::Body,
};

/// Creates the fresh actor of each life.
pub(crate) type Factory<A> = Arc<dyn Fn(&Link) -> A + Send + Sync>;

/// The thread on which a child's lives run.
pub(crate) struct Ground {
    placement: Placement,
    /// Kept for the next lives as long as the thread lives.
    thread: RefCell<Option<ArbiterHandle>>,
}

impl Ground {
    pub(crate) fn new(placement: Placement) -> Self {
        Self { placement, thread: RefCell::new(None) }
    }

    fn start(&self, seat: Seat, start: impl FnOnce(Seat) + Send + 'static) {
        match self.placement {
            Placement::Shared => start(seat),
            Placement::OwnThread => match self.own_thread() {
                // If the thread ends at this moment, the seat is dropped with the work, which reports the death.
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is supervision: a seat that is dropped reports the end of the life"
                )]
                Ok(thread) => _ = thread.spawn_fn(move || start(seat)),
                Err(text) => _ = seat.exited.send(ExitReason::Failed(text)),
            },
        }
    }

    /// The child's own thread. A new one is started if there is none alive.
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

    fn end(&self) {
        if let Some(thread) = self.thread.borrow_mut().take() {
            thread.stop();
        }
    }
}

impl Drop for Ground {
    /// Ends the thread also when a tree's future is dropped, which calls no `close`.
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) struct ActorBody<A: Actor> {
    pub(crate) factory: Factory<A>,
    pub(crate) inbox: Inbox<A>,
    pub(crate) ground: Ground,
}

impl<A: Actor<Context = Context<A>>> Body for ActorBody<A> {
    fn begin(&self, seat: Seat, _: &Board) {
        let (factory, inbox) = (Arc::clone(&self.factory), Arc::clone(&self.inbox));
        self.ground.start(seat, move |seat| {
            #[expect(clippy::disallowed_methods, reason = "this is supervision: the seat reports how the life ends")]
            actix_rt::spawn(live(move |link| factory(link), inbox, seat));
        });
    }

    fn close(&self) {
        life::close(&self.inbox);
        self.ground.end();
    }
}

/// Starts the work of each life.
pub(crate) type Work<F> = Arc<dyn Fn(Heart) -> F + Send + Sync>;

pub(crate) struct TaskBody<F> {
    pub(crate) work: Work<F>,
    pub(crate) ground: Ground,
}

impl<F: Future<Output: Outcome> + 'static> Body for TaskBody<F> {
    fn begin(&self, seat: Seat, _: &Board) {
        let work = Arc::clone(&self.work);
        self.ground.start(seat, move |seat| {
            #[expect(clippy::disallowed_methods, reason = "this is supervision: the seat reports how the life ends")]
            actix_rt::spawn(perform(move |heart| work(heart), seat));
        });
    }

    fn close(&self) {
        self.ground.end();
    }
}
