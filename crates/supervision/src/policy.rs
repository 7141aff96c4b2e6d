//! Options of a child specification and of a tree. Values only.

use std::time::Duration;

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

/// Pause between a fall and the restart.
///
/// The first restart is immediate. The second in a row waits `first`, and each further one `factor` times longer, up to
/// `max`. A life that lasted `max` or longer counts as quiet and starts a new row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Pause before the second restart in a row.
    pub first: Duration,
    /// Longest pause.
    pub max: Duration,
    /// Growth from one pause to the next.
    pub factor: f64,
    /// Largest part of a pause that is removed at random, from 0 to 1, so that many processes do not restart in step.
    pub jitter: f64,
}

impl Backoff {
    /// Every restart is immediate.
    pub const NONE: Self = Self { first: Duration::ZERO, max: Duration::ZERO, factor: 1.0, jitter: 0.0 };

    /// Pause after `streak` earlier falls in a row; `roll` is random, from 0 to 1.
    pub(crate) fn delay(&self, streak: u32, roll: f64) -> Duration {
        let Some(grown) = streak.checked_sub(1) else { return Duration::ZERO };
        let growth = self.factor.powi(grown.try_into().unwrap_or(i32::MAX));
        let full = (self.first.as_secs_f64() * growth).min(self.max.as_secs_f64());
        let pause = full * (1.0 - self.jitter.clamp(0.0, 1.0) * roll);
        // Out of range only for invalid settings, such as a negative factor.
        Duration::try_from_secs_f64(pause).unwrap_or(self.max)
    }
}

impl Default for Backoff {
    /// 100 ms, doubling up to 30 s, with a fifth randomised.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), max: Duration::from_secs(30), factor: 2.0, jitter: 0.2 }
    }
}

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
