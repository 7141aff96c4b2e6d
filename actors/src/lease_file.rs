//! Leases as they are written down.
//!
//! A rest is measured by a clock that nobody sets, so that no mistake of the other clock ends it early. That clock ends with the
//! machine's run: a resting address is written with how long it had rested, and with the run and the moment on its clock at which it
//! was released. A reader in the same run goes on from that moment. In another one the time between is not known, and does not count.
//!
//! The format is the one of the first release with more keys, which a reader that does not know them passes over: a pilot that is
//! rolled back keeps every address. For such a reader the last entry of a name is the one that holds it, and `released` is by the
//! clock that people read.

use std::{net::Ipv4Addr, time::Duration};

use boshy_mesh::{Hostname, Lease, LeaseConflict, LeaseState, Leases, Moment, Origin, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Stamp,
    sealed::{self, SealError},
};

const MAGIC: &str = "boshy-leases";

#[derive(Deserialize, Serialize)]
struct Entry {
    host: String,
    vip: Ipv4Addr,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Origin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rest: Option<Rest>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Released(Timestamp),
    Held,
}

/// All in milliseconds.
#[derive(Deserialize, Serialize)]
struct Rest {
    /// How long it had rested when this was written.
    rested: u64,
    /// When it was released, on the clock of `boot`.
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

/// A table as a file.
pub(crate) fn seal(leases: &Leases, stamp: &Stamp) -> Vec<u8> {
    let mut entries: Vec<_> = leases.iter().map(|(vip, lease)| Entry::new(vip, lease, stamp)).collect();
    entries.sort_by(|one, other| (&one.host, one.state).cmp(&(&other.host, other.state)));
    sealed::seal(MAGIC, &entries)
}

/// A table from a file.
///
/// # Errors
/// When the file is foreign, newer, damaged or contradicts itself.
pub(crate) fn unseal(content: &[u8], stamp: &Stamp) -> Result<Leases, SealError> {
    let entries: Vec<Entry> = sealed::unseal(MAGIC, content)?;
    let leases = entries.into_iter().map(|entry| entry.lease(stamp)).collect::<Result<Vec<_>, _>>()?;
    Leases::restore(leases).map_err(|conflict| match conflict {
        LeaseConflict::Shared(one, other) => SealError::Shared(one, other),
        LeaseConflict::Twice(host, vips) => SealError::Twice(host, vips),
    })
}

impl Entry {
    fn new(vip: Ipv4Addr, lease: &Lease, stamp: &Stamp) -> Self {
        let (state, rest) = match lease.state {
            LeaseState::Held => (State::Held, None),
            LeaseState::Released(at) => {
                let rested = stamp.moment.since(at);
                let wall = Timestamp(stamp.wall.0.saturating_sub(rested.as_secs()));
                let boot = stamp.boot.as_deref().map(str::to_owned);
                let rested = u64::try_from(rested.as_millis()).unwrap_or(u64::MAX);
                (State::Released(wall), Some(Rest { rested, since: at.0, boot }))
            }
        };
        Self { host: lease.host.to_string(), vip, state, owner: lease.owner.clone(), rest }
    }

    fn lease(self, stamp: &Stamp) -> Result<(Ipv4Addr, Lease), SealError> {
        let host = Hostname::parse(&self.host).map_err(SealError::Name)?;
        let state = match self.state {
            State::Held => LeaseState::Held,
            State::Released(_) => LeaseState::Released(released(self.rest, stamp)),
        };
        Ok((self.vip, Lease { host, owner: self.owner, state }))
    }
}

/// When an address was released, on the clock of this run. What the clock that people read said is not believed: it may have been
/// wrong then or be wrong now.
fn released(rest: Option<Rest>, stamp: &Stamp) -> Moment {
    let Some(rest) = rest else { return stamp.moment };
    let same_run = rest.boot.is_some() && rest.boot.as_deref() == stamp.boot.as_deref();
    if same_run && rest.since <= stamp.moment.0 {
        return Moment(rest.since);
    }
    stamp.moment.before(Duration::from_millis(rest.rested))
}

#[cfg(test)]
#[path = "lease_file_tests.rs"]
mod tests;
