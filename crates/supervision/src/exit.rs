//! How a life ends, and what a panic leaves behind.

use std::{
    any::Any,
    error::Error,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use err_report::Report;

/// How a child's life, or a whole tree, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It stopped by itself or was asked to.
    Normal,
    /// It called [`Link::fail`](crate::Link::fail), a loop of it ended, or it showed no life; the text is the error with its causes.
    Failed(String),
    /// It panicked; the text is the panic's.
    Panicked(String),
    /// It did not stop in time, was not asked, or lost its thread.
    Killed,
    /// A tree whose children fell more often than its intensity allows.
    GaveUp,
}

impl ExitReason {
    /// Exit code for a process whose root tree ended so: 0 when it was orderly, else 1, so that the process's own supervisor acts.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(*self != Self::Normal)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Failed(text) => write!(f, "failed: {text}"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Killed => f.write_str("killed"),
            Self::GaveUp => f.write_str("gave up"),
        }
    }
}

/// How a loop ended that was meant to go on.
pub trait Outcome {
    /// The end as its supervisor counts it.
    fn reason(self) -> ExitReason;
}

impl Outcome for () {
    fn reason(self) -> ExitReason {
        ExitReason::Normal
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> Outcome for Result<(), E> {
    fn reason(self) -> ExitReason {
        match self {
            Ok(()) => ExitReason::Normal,
            Err(error) => ExitReason::Failed(Report::new(&*error.into()).to_string()),
        }
    }
}

/// Runs foreign code that may panic; the error is the panic's text.
///
/// What `work` borrows may be half-updated after a panic: every caller throws it away.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "without a text".to_owned(),
        };
        discard(payload);
        text
    })
}

/// A payload is a value like any other: its destructor may panic, with a payload of its own. The second one is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}
