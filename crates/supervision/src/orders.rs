//! What a supervisor tells one life. Seen at the life's next poll, so that a life on another thread is reached like any other.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Order {
    Drain = 1,
    Kill = 2,
    Panic = 4,
}

/// The orders given to one life. An order once given stands.
#[derive(Default)]
pub(crate) struct Orders {
    given: AtomicU8,
    life: AtomicWaker,
}

impl Orders {
    pub(crate) fn give(&self, order: Order) {
        self.given.fetch_or(order as u8, Ordering::Release);
        self.life.wake();
    }

    pub(crate) fn given(&self, order: Order) -> bool {
        self.given.load(Ordering::Acquire) & order as u8 != 0
    }

    /// Wakes this task at the next order. To be called before looking at [`Self::given`].
    pub(crate) fn listen(&self, task: &Context<'_>) {
        self.life.register(task.waker());
    }

    /// Resolves once the life has to end, orderly or not.
    pub(crate) async fn to_end(&self) {
        poll_fn(|task| {
            self.listen(task);
            if self.given(Order::Drain) || self.given(Order::Kill) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits for `work`, unless the life is killed before.
    pub(crate) async fn unless_killed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|task| {
            self.listen(task);
            if self.given(Order::Kill) { Poll::Ready(None) } else { work.as_mut().poll(task).map(Some) }
        })
        .await
    }
}

/// Where the orders of a child's present life can be found.
#[derive(Clone, Default)]
pub(crate) struct Present(Arc<Mutex<Option<Arc<Orders>>>>);

impl Present {
    pub(crate) fn set(&self, orders: Option<Arc<Orders>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = orders;
    }

    pub(crate) fn get(&self) -> Option<Arc<Orders>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes children panic, whichever actors they are. For tests that kill, in a lab; nothing else should hold one.
#[derive(Clone)]
pub struct Saboteur {
    pub(crate) targets: Arc<[(String, Present)]>,
}

impl Saboteur {
    /// Makes the present life of a child panic inside its own poll. Names are those of [`TreeStatus`](crate::TreeStatus); a
    /// nested tree itself cannot be made to panic, its children can.
    ///
    /// False when there is no such child or it has no life now.
    #[must_use]
    pub fn panic_child(&self, name: &str) -> bool {
        let target = self.targets.iter().find(|(target, _)| target == name);
        let Some(orders) = target.and_then(|(_, present)| present.get()) else { return false };
        orders.give(Order::Panic);
        true
    }
}
