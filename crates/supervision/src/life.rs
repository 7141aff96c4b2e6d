//! One life of an actor: a fresh value in a fresh context, which receives messages from the queue that outlives it.
//!
//! ```text
//!  ChildRef ──> queue (outlives lives) ──> Pump, first future of the context ──> Handler::handle
//!                                          └ ContextFut, polled under catch_unwind by `live`
//! ```
//!
//! A panic leaves the context half-updated. It is then terminated, so that no hook and no future of the broken life
//! runs again, and is dropped only after the unwinding: a destructor that panics during unwinding would abort the
//! process.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
    thread,
    time::Duration,
};

use actix::{
    Actor, ActorContext, AsyncContext, Context,
    dev::{ContextFut, Envelope, EnvelopeProxy},
    fut::ActorFuture,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, mpsc, oneshot},
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{
    ExitReason, Heart, Link, Outcome,
    exit::guarded,
    orders::{Order, Orders},
};

/// Longest time between two polls of an idle life. The polls show that its thread runs.
const TICK: Duration = Duration::from_secs(2);

/// The queue of a child. A life holds the lock from its start to its end. So nothing is locked per message, and the
/// next life cannot start before the last one has released it.
pub(crate) type Inbox<A> = Arc<Mutex<mpsc::Receiver<Envelope<A>>>>;
type Queue<A> = OwnedMutexGuard<mpsc::Receiver<Envelope<A>>>;

/// The connection between a supervisor and one life. Dropping `exited` unsent reports that the life was killed, for
/// instance with its thread. The receiving ends belong to this life alone: late news of an earlier one has no receiver.
pub(crate) struct Seat {
    pub(crate) link: Link,
    pub(crate) orders: Arc<Orders>,
    pub(crate) started: oneshot::Sender<()>,
    pub(crate) exited: oneshot::Sender<ExitReason>,
}

/// Runs one life. `factory` runs inside it, so a panic of the factory is one of the life.
pub(crate) async fn live<A>(factory: impl FnOnce(&Link) -> A, inbox: Inbox<A>, seat: Seat)
where
    A: Actor<Context = Context<A>>,
{
    // Declared first and therefore dropped last: when the death is reported, the queue is free.
    let Seat { link, orders, started, exited } = seat;
    let reason = match orders.unless_killed(inbox.lock_owned()).await {
        Some(queue) => match guarded(|| Body::new(factory, &link, queue, Arc::clone(&orders))) {
            Ok(body) => body.run(&orders, started).await,
            Err(text) => ExitReason::Panicked(text),
        },
        None => link.verdict(ExitReason::Killed),
    };
    // There is no receiver when the tree itself is gone.
    let _ = exited.send(reason);
}

/// Runs one life of a task. When asked to end, the task is dropped at its current await point.
pub(crate) async fn perform<F>(work: impl FnOnce(Heart) -> F, seat: Seat)
where
    F: Future<Output: Outcome>,
{
    let Seat { link, orders, started, exited } = seat;
    let reason = match guarded(|| Box::pin(work(link.heart("round")))) {
        Ok(mut work) => {
            let reason = attend(&link, &orders, started, |task| {
                if orders.given(Order::Drain) {
                    return Poll::Ready(ExitReason::Normal);
                }
                work.as_mut().poll(task).map(Outcome::reason)
            })
            .await;
            if let Err(text) = guarded(|| drop(work)) {
                tracing::error!(child = link.name(), panic = text, "panicked while being dropped");
            }
            reason
        }
        Err(text) => ExitReason::Panicked(text),
    };
    let _ = exited.send(reason);
}

/// Polls a life to its end, and records by each poll that its thread runs.
async fn attend(
    link: &Link,
    orders: &Orders,
    started: oneshot::Sender<()>,
    mut poll: impl FnMut(&mut Task<'_>) -> Poll<ExitReason>,
) -> ExitReason {
    let mut started = Some(started);
    let mut tick = ticks(link);
    poll_fn(|task| {
        orders.listen(task);
        while tick.as_mut().is_some_and(|tick| tick.poll_tick(task).is_ready()) {}
        if orders.given(Order::Kill) {
            return Poll::Ready(link.verdict(ExitReason::Killed));
        }
        let mut once = || {
            guarded(|| {
                assert!(!orders.given(Order::Panic), "sabotage");
                if let Some(time) = orders.stuck_for() {
                    thread::sleep(time);
                }
                poll(task)
            })
        };
        let polled = match link.pulse() {
            Some(pulse) => pulse.around(once),
            None => once(),
        };
        match polled {
            Ok(Poll::Pending) => {
                if let Some(started) = started.take() {
                    let _ = started.send(());
                }
                Poll::Pending
            }
            Ok(ended) => ended,
            Err(text) => Poll::Ready(ExitReason::Panicked(text)),
        }
    })
    .await
}

fn ticks(link: &Link) -> Option<Interval> {
    let bound = link.pulse()?.bound();
    let mut tick = interval((bound / 8).clamp(Duration::from_millis(1), TICK));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(tick)
}

struct Body<A: Actor<Context = Context<A>>> {
    /// `None` only while it is being dropped.
    context: Option<ContextFut<A, Context<A>>>,
    link: Link,
}

impl<A: Actor<Context = Context<A>>> Body<A> {
    fn new(factory: impl FnOnce(&Link) -> A, link: &Link, queue: Queue<A>, orders: Arc<Orders>) -> Self {
        let actor = factory(link);
        let mut ctx = Context::new();
        ctx.spawn(Pump { queue, orders, drain: Drain::NotAsked, heart: link.heart("mailbox") });
        Self { context: Some(ctx.into_future(actor)), link: link.clone() }
    }

    async fn run(mut self, orders: &Orders, started: oneshot::Sender<()>) -> ExitReason {
        let link = self.link.clone();
        attend(&link, orders, started, |task| match self.context.as_mut() {
            Some(context) => Pin::new(context).poll(task).map(|()| link.verdict(ExitReason::Normal)),
            None => Poll::Ready(ExitReason::Killed),
        })
        .await
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Body<A> {
    fn drop(&mut self) {
        let Some(mut context) = self.context.take() else { return };
        // Otherwise its destructor would poll the actor once more.
        context.ctx().terminate();
        if let Err(text) = guarded(|| drop(context)) {
            tracing::error!(child = self.link.name(), panic = text, "panicked while being dropped");
        }
    }
}

/// Moves messages from the queue to the actor. It is never ready, which keeps the context alive. Like a mailbox, it is
/// not polled while the actor waits (`ctx.wait`).
struct Pump<A: Actor> {
    queue: Queue<A>,
    orders: Arc<Orders>,
    drain: Drain,
    /// Beats whenever messages are taken, or could be taken if there were any.
    heart: Heart,
}

#[derive(Clone, Copy)]
enum Drain {
    NotAsked,
    /// Number of messages that were queued before the order and are still to be handled.
    Left(usize),
    Stopped,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, act: &mut A, ctx: &mut Context<A>, task: &mut Task<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.heart.beat();
        if matches!(this.drain, Drain::NotAsked) && this.orders.given(Order::Drain) {
            this.drain = Drain::Left(this.queue.len());
        }
        // tokio's budget makes the queue appear empty from time to time, so a full queue does not monopolise the
        // thread. A life that was stuck may have been killed in the meantime: it takes no further messages.
        while !ctx.waiting() && !this.orders.given(Order::Kill) {
            if matches!(this.drain, Drain::Left(0)) {
                this.drain = Drain::Stopped;
                ctx.stop();
                break;
            }
            let Poll::Ready(Some(mut envelope)) = this.queue.poll_recv(task) else { break };
            if let Drain::Left(left) = &mut this.drain {
                *left -= 1;
            }
            envelope.handle(act, ctx);
        }
        Poll::Pending
    }
}

/// Tells all present and later callers that the child has ended for good.
pub(crate) fn close<A: Actor>(inbox: &Inbox<A>) {
    // This succeeds at once unless a stuck life still has the queue.
    if let Ok(mut queue) = inbox.try_lock() {
        queue.close();
    }
    let inbox = Arc::clone(inbox);
    #[expect(
        clippy::disallowed_methods,
        reason = "this is supervision: the child has ended, and a panic of what is dropped is caught"
    )]
    actix_rt::spawn(async move {
        let mut queue = inbox.lock().await;
        queue.close();
        // Ends when the last place in the queue that was reserved by a sender has been used or returned.
        while let Some(envelope) = queue.recv().await {
            if let Err(text) = guarded(|| drop(envelope)) {
                tracing::error!(panic = text, "a message panicked while being dropped");
            }
        }
    });
}
