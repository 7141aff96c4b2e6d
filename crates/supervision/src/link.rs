//! What a life knows of its supervision.

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

/// An actor's tie to its supervisor, made for one life and given to the child's factory.
#[derive(Clone, Debug)]
pub struct Link(Arc<Life>);

#[derive(Debug)]
struct Life {
    name: String,
    generation: u64,
    failure: OnceLock<String>,
    /// `None` for a tree within a tree, whose children have theirs.
    pulse: Option<Arc<Pulse>>,
}

impl Link {
    pub(crate) fn new(name: String, generation: u64, silence: Option<Duration>) -> Self {
        let pulse = silence.map(Pulse::new);
        Self(Arc::new(Life { name, generation, failure: OnceLock::new(), pulse }))
    }

    /// The child's name, `tree/child` in a nested tree.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Number of this life, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Ends this life as failed: for state that can only be mended by a fresh start. Expected trouble belongs inside the actor.
    ///
    /// Nothing of this life is run any more but `Actor::stopped`.
    pub fn fail<A>(&self, ctx: &mut Context<A>, error: impl Into<Box<dyn Error + Send + Sync>>)
    where
        A: Actor<Context = Context<A>>,
    {
        self.blame(Report::new(&*error.into()).to_string());
        ctx.terminate();
    }

    /// Runs a loop that this life depends on: when it ends, with an error or without one, the life has failed.
    ///
    /// The loop shows its life by its heart, which has the bound of the child.
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

    /// A heart for one more loop of this life.
    #[must_use]
    pub fn heart(&self, what: &str) -> Heart {
        self.0.pulse.as_ref().map_or_else(Heart::unwatched, |pulse| pulse.heart(what, None))
    }

    pub(crate) fn pulse(&self) -> Option<&Arc<Pulse>> {
        self.0.pulse.as_ref()
    }

    /// Marks the life as failed, without ending it.
    pub(crate) fn blame(&self, reason: String) {
        // The first failure is the reason; a second one on the way out is a consequence.
        let _ = self.0.failure.set(reason);
    }

    /// How a life ended that was not heard of otherwise.
    pub(crate) fn verdict(&self, otherwise: ExitReason) -> ExitReason {
        self.0.failure.get().cloned().map_or(otherwise, ExitReason::Failed)
    }
}
