//! What a life knows of its supervision.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
};

use actix::{Actor, ActorContext, Context};
use err_report::Report;

use crate::ExitReason;

/// An actor's tie to its supervisor, made for one life and given to the child's factory.
#[derive(Clone, Debug)]
pub struct Link(Arc<Life>);

#[derive(Debug)]
struct Life {
    name: String,
    generation: u64,
    failure: OnceLock<String>,
}

impl Link {
    pub(crate) fn new(name: String, generation: u64) -> Self {
        Self(Arc::new(Life { name, generation, failure: OnceLock::new() }))
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
        // The first failure is the reason; a second one on the way out is a consequence.
        let _ = self.0.failure.set(Report::new(&*error.into()).to_string());
        ctx.terminate();
    }

    pub(crate) fn verdict(&self) -> ExitReason {
        self.0.failure.get().cloned().map_or(ExitReason::Normal, ExitReason::Failed)
    }
}
