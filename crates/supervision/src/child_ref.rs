//! The handle by which other code sends messages to a child.

use std::{fmt, sync::Arc};

use actix::{
    Actor, Context, Handler, Message,
    dev::{Envelope, ToEnvelope},
};
use tokio::sync::{mpsc, oneshot};

/// A handle of a child that reaches its present life. It stays valid forever and is cheap to clone.
///
/// Messages are handled in the order in which they were queued, across lives.
pub struct ChildRef<A: Actor> {
    name: Arc<str>,
    queue: mpsc::Sender<Envelope<A>>,
}

/// Why a message has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The life that was handling the message ended without an answer. Whether the message took effect is unknown. The
    /// child answers again after its restart.
    #[error("sending to a child: the message was lost with the life that had it")]
    Lost,
    /// The queue is full.
    #[error("sending to a child: its queue is full")]
    Full,
    /// The child has ended for good. Whether a message queued before that took effect is unknown.
    #[error("sending to a child: it has ended and is not restarted")]
    GivenUp,
}

impl<A: Actor<Context = Context<A>>> ChildRef<A> {
    pub(crate) fn new(name: &str, queue: mpsc::Sender<Envelope<A>>) -> Self {
        Self { name: name.into(), queue }
    }

    /// The child's name within its tree.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues a message, waiting for room, and waits for the answer. While the child is down, the message waits for the
    /// next life. Nothing is queued before the first poll. Dropping the future withdraws a message whose handling has
    /// not begun.
    ///
    /// An actor that waits (`ctx.wait`) for an answer to its own child reference waits forever.
    ///
    /// # Errors
    /// [`SendError::Lost`] or [`SendError::GivenUp`].
    pub async fn send<M>(&self, message: M) -> Result<M::Result, SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (answer, answered) = oneshot::channel();
        let envelope = <Context<A> as ToEnvelope<A, M>>::pack(message, Some(answer));
        self.queue.send(envelope).await.map_err(|_| SendError::GivenUp)?;
        answered.await.map_err(|_| if self.queue.is_closed() { SendError::GivenUp } else { SendError::Lost })
    }

    /// Queues a message whose answer is not needed.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::GivenUp`]. A later loss of the message is not reported.
    pub fn try_send<M>(&self, message: M) -> Result<(), SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let envelope = <Context<A> as ToEnvelope<A, M>>::pack(message, None);
        self.queue.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::GivenUp,
        })
    }
}

impl<A: Actor> Clone for ChildRef<A> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), queue: self.queue.clone() }
    }
}

impl<A: Actor> fmt::Debug for ChildRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChildRef").field(&self.name).finish()
    }
}
