//! Clocks are read here, at the edge, and the time is passed to the domain.

use std::{
    fs,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use boshy_mesh::{Moment, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// Seconds since the Unix epoch; zero for a clock before it. To measure how long ago an event was, use [`Clock`].
#[expect(clippy::disallowed_methods, reason = "the time of day, which people read")]
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// One reading of this machine's clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// On a monotonic clock that runs since the boot of the machine.
    pub(crate) moment: Moment,
    /// Id of that boot; `None` when the kernel does not provide it.
    pub(crate) boot: Option<Arc<str>>,
    /// By the wall clock.
    pub(crate) wall: Timestamp,
}

/// Source of the time. Clones are the same clock.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Stamp + Send + Sync>);

impl Clock {
    /// The clocks of this machine.
    pub(crate) fn system() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| Arc::from(id.trim()));
        Self::of(move || Stamp { moment: moment(), boot: boot.clone(), wall: now() })
    }

    /// A custom clock.
    pub(crate) fn of(look: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// Reads the clock.
    pub(crate) fn look(&self) -> Stamp {
        (self.0)()
    }
}

/// Time since boot, which includes suspended time. Every kernel that boshy runs on has this clock.
pub(crate) fn moment() -> Moment {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME, Linux 2.6.39");
    Moment(since.tv_sec() * 1000 + since.tv_nsec() / 1_000_000)
}
