//! What a child specification and a tree may ask for. Values only.

use std::time::Duration;

/// After which ends a child is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// After every end.
    #[default]
    Permanent,
    /// After every end but a normal one.
    Transient,
    /// Never, not even when a sibling's fall took it down.
    Temporary,
}

/// Whom a fall concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The fallen child alone.
    #[default]
    OneForOne,
    /// The fallen child and all that were declared after it, because those depend on it.
    RestForOne,
}

/// How a child is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// It handles the messages queued until now, then is stopped as by `ctx.stop()`: its `Actor::stopping` may answer
    /// `Running::Continue` to finish its work and call `ctx.stop()` itself. Killed when it lives on after this time.
    Drain(Duration),
    /// Dropped at once, without any hook.
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
    /// On the thread of its tree, beside its siblings.
    #[default]
    Shared,
    /// On an arbiter of its own, for work that would hold up the siblings. Needs an actix `System`.
    OwnThread,
}

/// Pause between a fall and the restart.
///
/// The first restart is immediate; the second in a row waits `first`, each further one `factor` times longer, up to `max`. A life
/// that lasted `max` or longer was quiet: the row begins anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Pause before the second restart in a row.
    pub first: Duration,
    /// Longest pause.
    pub max: Duration,
    /// Growth from one pause to the next.
    pub factor: f64,
    /// Largest part of a pause that chance takes away, from 0 to 1, so that many processes do not restart in step.
    pub jitter: f64,
}

impl Backoff {
    /// Every restart is immediate.
    pub const NONE: Self = Self { first: Duration::ZERO, max: Duration::ZERO, factor: 1.0, jitter: 0.0 };

    /// Pause after `streak` falls in a row before this one; `roll` is chance, from 0 to 1.
    pub(crate) fn delay(&self, streak: u32, roll: f64) -> Duration {
        let Some(grown) = streak.checked_sub(1) else { return Duration::ZERO };
        let growth = self.factor.powi(grown.try_into().unwrap_or(i32::MAX));
        let full = (self.first.as_secs_f64() * growth).min(self.max.as_secs_f64());
        let pause = full * (1.0 - self.jitter.clamp(0.0, 1.0) * roll);
        // Out of range only for settings without sense, such as a negative factor.
        Duration::try_from_secs_f64(pause).unwrap_or(self.max)
    }
}

impl Default for Backoff {
    /// 100 ms, doubling up to 30 s, with a fifth left to chance.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), max: Duration::from_secs(30), factor: 2.0, jitter: 0.2 }
    }
}

/// How long a child may show no life unless its declaration says otherwise. Far beyond what a loaded machine takes to give a thread
/// its turn, and short beside what a person takes to notice.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// How many restarts a tree bears.
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
