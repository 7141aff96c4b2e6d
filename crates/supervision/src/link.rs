//! The link from a life to its supervision.

use std::{
    error::Error,
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix::{
    Actor, ActorContext, AsyncContext, Context,
    fut::{self, ActorFutureExt},
};
use err_report::Report;

use crate::{ExitReason, Heart, Outcome, pulse::Pulse};

/// An actor's link to its supervisor. It is made for one life and passed to the child's factory.
#[derive(Clone, Debug)]
pub struct Link(Arc<Life>);

#[derive(Debug)]
struct Life {
    name: String,
    generation: u64,
    failure: OnceLock<String>,
    /// `None` for a nested tree, whose children have their own.
    pulse: Option<Arc<Pulse>>,
}

impl Link {
    pub(crate) fn new(name: String, generation: u64, silence: Option<Duration>) -> Self {
        let pulse = silence.map(Pulse::new);
        Self(Arc::new(Life { name, generation, failure: OnceLock::new(), pulse }))
    }

    /// The child's name; `tree/child` in a nested tree.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Number of this life, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Ends this life as failed, for state that only a fresh start can repair. Expected trouble belongs inside the
    /// actor.
    ///
    /// Nothing of this life runs any more except `Actor::stopped`.
    pub fn fail<A>(&self, ctx: &mut Context<A>, error: impl Into<Box<dyn Error + Send + Sync>>)
    where
        A: Actor<Context = Context<A>>,
    {
        self.blame(Report::new(&*error.into()).to_string());
        ctx.terminate();
    }

    /// Runs a loop that this life depends on: when it ends, with an error or without one, the life has failed.
    ///
    /// The loop shows that it is alive through its heart, which has the bound of the child.
    pub fn keep<A, F, T>(&self, ctx: &mut Context<A>, what: &'static str, work: impl FnOnce(Heart) -> F)
    where
        A: Actor<Context = Context<A>>,
        F: Future<Output = T> + 'static,
        T: Outcome + 'static,
    {
        let link = self.clone();
        let work = fut::wrap_future::<_, A>(work(self.heart(what)));
        ctx.spawn(work.map(move |ended, _, ctx| {
            link.blame(match ended.reason() {
                ExitReason::Failed(text) => text,
                _ => format!("its loop ended: {what}"),
            });
            ctx.terminate();
        }));
    }

    /// A heart for another loop of this life.
    #[must_use]
    pub fn heart(&self, what: &str) -> Heart {
        self.0.pulse.as_ref().map_or_else(Heart::unwatched, |pulse| pulse.heart(what, None))
    }

    pub(crate) fn pulse(&self) -> Option<&Arc<Pulse>> {
        self.0.pulse.as_ref()
    }

    /// Marks the life as failed, without ending it.
    pub(crate) fn blame(&self, reason: String) {
        // The first failure is the reason; a second one during the end is a consequence.
        let _ = self.0.failure.set(reason);
    }

    /// The exit reason of a life: its recorded failure, or else `otherwise`.
    pub(crate) fn verdict(&self, otherwise: ExitReason) -> ExitReason {
        self.0.failure.get().cloned().map_or(otherwise, ExitReason::Failed)
    }
}
