//! Options of a child specification and of a tree. Values only.

use std::time::Duration;

use boshy_backoff::Backoff;

/// After which ends a child is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// After every end.
    #[default]
    Permanent,
    /// After every end except a normal one.
    Transient,
    /// Never, not even when a sibling's fall ended it.
    Temporary,
}

/// Which children a fall affects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Only the fallen child.
    #[default]
    OneForOne,
    /// The fallen child and all declared after it, because they depend on it.
    RestForOne,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It handles the messages queued until now, then is stopped as by `ctx.stop()`. Its `Actor::stopping` may return
    /// `Running::Continue` to finish its work and call `ctx.stop()` itself. It is killed when it still lives after this
    /// time.
    Drain(Duration),
    /// It is dropped at once, without any hook.
    Kill,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::Drain(Duration::from_secs(5))
    }
}

/// Where a child runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// On the thread of its tree, together with its siblings.
    #[default]
    Shared,
    /// On an arbiter of its own, for work that would hold up the siblings. Needs an actix `System`.
    OwnThread,
}

/// Pauses between falls and restarts unless a child sets others: 100 ms, doubling up to 30 s, with a fifth randomised.
///
/// The first restart is immediate. A pause follows from the second fall in a row on. A life that lasted the longest
/// pause counts as quiet and starts a new row.
pub(crate) const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(30), jitter: 0.2 };

/// Default bound on the time without a sign of life. It is far longer than a loaded machine takes to schedule a thread,
/// and short compared with the time until an operator notices.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// How many restarts a tree tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intensity {
    pub(crate) max_restarts: u32,
    pub(crate) period: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { max_restarts: 3, period: Duration::from_secs(60) }
    }
}
