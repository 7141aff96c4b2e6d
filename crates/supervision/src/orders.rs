//! Orders of a supervisor to one life. The life reads them at its next poll, so a life on another thread is controlled
//! like any other.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;

use crate::{Link, pulse::Silence};

#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Order {
    Drain = 1,
    Kill = 2,
    Panic = 4,
    Stick = 8,
}

/// The orders given to one life. An order cannot be withdrawn.
#[derive(Default)]
pub(crate) struct Orders {
    given: AtomicU8,
    life: AtomicWaker,
    /// Duration of [`Order::Stick`] in milliseconds.
    stick: AtomicU64,
}

impl Orders {
    pub(crate) fn give(&self, order: Order) {
        self.given.fetch_or(order as u8, Ordering::Release);
        self.life.wake();
    }

    pub(crate) fn given(&self, order: Order) -> bool {
        self.given.load(Ordering::Acquire) & order as u8 != 0
    }

    fn stick(&self, time: Duration) {
        self.stick.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.give(Order::Stick);
    }

    /// How long the life has to block its thread; returned once.
    pub(crate) fn stuck_for(&self) -> Option<Duration> {
        if !self.given(Order::Stick) {
            return None;
        }
        self.given.fetch_and(!(Order::Stick as u8), Ordering::AcqRel);
        Some(Duration::from_millis(self.stick.load(Ordering::Relaxed)))
    }

    /// Wakes this task at the next order. Call it before [`Self::given`].
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

    /// Waits for `work`, unless the life is killed first.
    pub(crate) async fn unless_killed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|task| {
            self.listen(task);
            if self.given(Order::Kill) { Poll::Ready(None) } else { work.as_mut().poll(task).map(Some) }
        })
        .await
    }
}

/// The means to control a life.
#[derive(Clone)]
pub(crate) struct Ties {
    pub(crate) orders: Arc<Orders>,
    pub(crate) link: Link,
}

/// The present life of a child.
#[derive(Clone, Default)]
pub(crate) struct Present(Arc<Mutex<Option<Ties>>>);

impl Present {
    pub(crate) fn set(&self, life: Option<Ties>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = life;
    }

    fn get(&self) -> Option<Ties> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn silence(&self) -> Option<Silence> {
        self.get()?.link.pulse()?.silence()
    }

    pub(crate) fn holds_its_thread(&self) -> Option<Silence> {
        self.get()?.link.pulse()?.holds_its_thread()
    }

    /// Ends the present life as failed.
    pub(crate) fn end(&self, reason: String) {
        if let Some(Ties { orders, link }) = self.get() {
            link.blame(reason);
            orders.give(Order::Kill);
        }
    }
}

/// The children of a tree and of its nested trees, with their present lives. Clones share them, including children
/// declared later.
#[derive(Clone, Default)]
pub(crate) struct Lives(Arc<Mutex<Vec<(String, Present)>>>);

impl Lives {
    pub(crate) fn add(&self, child: String, present: Present) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((child, present));
    }

    /// Adds the children of a nested tree, whose declaration is complete.
    pub(crate) fn add_below(&self, tree: &str, nested: &Self) {
        for (child, present) in nested.all() {
            self.add(format!("{tree}/{child}"), present);
        }
    }

    pub(crate) fn all(&self) -> Vec<(String, Present)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn orders(&self, name: &str) -> Option<Arc<Orders>> {
        let lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, present) = lives.iter().find(|(child, _)| child == name)?;
        Some(present.get()?.orders)
    }
}

/// Makes any child panic or hang. For tests in a lab; no other code should hold one. Names are those of
/// [`TreeStatus`](crate::TreeStatus). It reaches the children of a nested tree, but not the nested tree itself.
#[derive(Clone)]
pub struct Saboteur(pub(crate) Lives);

impl Saboteur {
    /// Makes the present life of a child panic inside its own poll.
    ///
    /// Returns false when there is no such child or it has no life now.
    #[must_use]
    pub fn panic_child(&self, name: &str) -> bool {
        self.0.orders(name).map(|orders| orders.give(Order::Panic)).is_some()
    }

    /// Makes the present life of a child block its thread for this time, like a stuck one.
    ///
    /// Returns false when there is no such child or it has no life now.
    #[must_use]
    pub fn stick_child(&self, name: &str, time: Duration) -> bool {
        self.0.orders(name).map(|orders| orders.stick(time)).is_some()
    }
}
