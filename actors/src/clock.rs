//! Clocks, read at the edge: the domain is given the time.

use std::{
    fs,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use boshy_mesh::{Moment, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// Seconds since the Unix epoch; zero for a clock before it. How long ago something was is told by [`Clock`].
#[expect(clippy::disallowed_methods, reason = "the time of day, which people read")]
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// One look at the clocks of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// On a clock that nobody sets, which runs from the start of the machine.
    pub(crate) moment: Moment,
    /// Which start that was; `None` when the kernel does not tell.
    pub(crate) boot: Option<Arc<str>>,
    /// By the clock that people read.
    pub(crate) wall: Timestamp,
}

/// Where the time comes from. Clones are the same clock.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Stamp + Send + Sync>);

impl Clock {
    /// The clocks of this machine.
    pub(crate) fn system() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| Arc::from(id.trim()));
        Self::of(move || Stamp { moment: since_boot(), boot: boot.clone(), wall: now() })
    }

    /// Somebody's own.
    pub(crate) fn of(look: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// One look.
    pub(crate) fn look(&self) -> Stamp {
        (self.0)()
    }
}

/// Counts while the machine is suspended as well. Every kernel that boshy runs on has the clock.
fn since_boot() -> Moment {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME, Linux 2.6.39");
    Moment(since.tv_sec() * 1000 + since.tv_nsec() / 1_000_000)
}
