//! One life of an actor: a fresh value in a fresh context, fed from the queue that outlives it.
//!
//! ```text
//!  ChildRef ──> queue (outlives lives) ──> Pump, first future of the context ──> Handler::handle
//!                                          └ ContextFut, polled under catch_unwind by `live`
//! ```
//!
//! A panic leaves the context half-updated. It is then terminated, so that no hook and no future of the broken life runs again, and
//! dropped only after the unwinding is over: a destructor that panics while unwinding would abort the process.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context as Task, Poll},
};

use actix::{
    Actor, ActorContext, AsyncContext, Context,
    dev::{ContextFut, Envelope, EnvelopeProxy},
    fut::ActorFuture,
};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};

use crate::{
    ExitReason, Link,
    exit::guarded,
    orders::{Order, Orders},
};

/// The queue of a child. A life holds the lock from birth to end, so nothing is locked per message, and the next life cannot begin
/// before the last has let go.
pub(crate) type Inbox<A> = Arc<Mutex<mpsc::Receiver<Envelope<A>>>>;
type Queue<A> = OwnedMutexGuard<mpsc::Receiver<Envelope<A>>>;

/// What a supervisor gives to a life, and by which it hears of it. Dropping `died` unsent is the news that the life was
/// killed, with its thread for instance. The receiving ends belong to this life alone: news of an earlier one reaches nobody.
pub(crate) struct Seat {
    pub(crate) link: Link,
    pub(crate) orders: Arc<Orders>,
    pub(crate) born: oneshot::Sender<()>,
    pub(crate) died: oneshot::Sender<ExitReason>,
}

/// Lives one life. `factory` runs inside it: its panic is the life's.
pub(crate) async fn live<A>(factory: impl FnOnce(&Link) -> A, inbox: Inbox<A>, seat: Seat)
where
    A: Actor<Context = Context<A>>,
{
    // Declared first, hence dropped last: who hears of the death finds the queue free.
    let Seat { link, orders, born, died } = seat;
    let reason = match orders.unless_killed(inbox.lock_owned()).await {
        Some(queue) => match guarded(|| Body::new(factory, &link, queue, Arc::clone(&orders))) {
            Ok(body) => body.run(&orders, born).await,
            Err(text) => ExitReason::Panicked(text),
        },
        None => ExitReason::Killed,
    };
    // Nobody listens when the tree itself is gone.
    let _ = died.send(reason);
}

struct Body<A: Actor<Context = Context<A>>> {
    /// `None` only while being dropped.
    context: Option<ContextFut<A, Context<A>>>,
    link: Link,
}

impl<A: Actor<Context = Context<A>>> Body<A> {
    fn new(factory: impl FnOnce(&Link) -> A, link: &Link, queue: Queue<A>, orders: Arc<Orders>) -> Self {
        let actor = factory(link);
        let mut ctx = Context::new();
        ctx.spawn(Pump { queue, orders, drain: Drain::NotAsked });
        Self { context: Some(ctx.into_future(actor)), link: link.clone() }
    }

    async fn run(mut self, orders: &Orders, born: oneshot::Sender<()>) -> ExitReason {
        let mut born = Some(born);
        poll_fn(|task| {
            orders.listen(task);
            let Some(context) = self.context.as_mut().filter(|_| !orders.given(Order::Kill)) else {
                return Poll::Ready(ExitReason::Killed);
            };
            let polled = guarded(|| {
                assert!(!orders.given(Order::Panic), "sabotage");
                Pin::new(context).poll(task)
            });
            match polled {
                Ok(Poll::Pending) => {
                    if let Some(born) = born.take() {
                        let _ = born.send(());
                    }
                    Poll::Pending
                }
                Ok(Poll::Ready(())) => Poll::Ready(self.link.verdict()),
                Err(text) => Poll::Ready(ExitReason::Panicked(text)),
            }
        })
        .await
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Body<A> {
    fn drop(&mut self) {
        let Some(mut context) = self.context.take() else { return };
        // Else its destructor would poll the actor once more.
        context.ctx().terminate();
        if let Err(text) = guarded(|| drop(context)) {
            tracing::error!(child = self.link.name(), panic = text, "panicked while being dropped");
        }
    }
}

/// Carries messages from the queue to the actor. Never ready, which keeps the context alive; not polled while the actor waits
/// (`ctx.wait`), as a mailbox would not be.
struct Pump<A: Actor> {
    queue: Queue<A>,
    orders: Arc<Orders>,
    drain: Drain,
}

#[derive(Clone, Copy)]
enum Drain {
    NotAsked,
    /// So many messages were queued before the order and are still to be handled.
    Left(usize),
    Stopped,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, act: &mut A, ctx: &mut Context<A>, task: &mut Task<'_>) -> Poll<()> {
        let this = self.get_mut();
        if matches!(this.drain, Drain::NotAsked) && this.orders.given(Order::Drain) {
            this.drain = Drain::Left(this.queue.len());
        }
        // tokio's budget makes the queue look empty now and then, so a full one does not keep the thread from others.
        // A life that was stuck may have been killed meanwhile: it takes nothing any more.
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

/// Tells everybody who waits, or comes later, that the child has ended for good.
pub(crate) fn close<A: Actor>(inbox: &Inbox<A>) {
    // At once unless a stuck life still has the queue.
    if let Ok(mut queue) = inbox.try_lock() {
        queue.close();
    }
    let inbox = Arc::clone(inbox);
    actix_rt::spawn(async move {
        let mut queue = inbox.lock().await;
        queue.close();
        // Ends when the last place in the queue that was promised to a sender has been used or returned.
        while let Some(envelope) = queue.recv().await {
            if let Err(text) = guarded(|| drop(envelope)) {
                tracing::error!(panic = text, "a message panicked while being dropped");
            }
        }
    });
}
