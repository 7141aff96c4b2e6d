//! How a life ends, and the handling of panics.

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
    /// It stopped on its own or was asked to stop.
    Normal,
    /// It called [`Link::fail`](crate::Link::fail), one of its loops ended, or it showed no sign of life; the text is
    /// the error with its causes.
    Failed(String),
    /// It panicked; the text is the panic's message.
    Panicked(String),
    /// It did not stop in time, was ended without being asked, or lost its thread.
    Killed,
    /// The children of a tree fell more often than its intensity allows.
    GaveUp,
}

impl ExitReason {
    /// Exit code of a process whose root tree ended in this way: 0 after an orderly end, otherwise 1, so that the
    /// process's own supervisor acts.
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

/// How a loop ended that was meant to run forever.
pub trait Outcome {
    /// The end as an exit reason.
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

/// Runs foreign code that may panic; the error is the panic's message.
///
/// Values that `work` borrows may be half-updated after a panic: every caller must discard them.
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

/// Drops a panic payload. Its destructor may panic in turn; that second payload is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}
