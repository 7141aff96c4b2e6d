//! The file format of leases.
//!
//! A quarantine is measured by a monotonic clock, so that a jump of the wall clock does not end it early. The monotonic
//! clock restarts with the machine. So a quarantined address is written with the time it has been in quarantine, the id
//! of the boot, and the moment of its release on that boot's clock. A reader in the same boot continues from that
//! moment. In another boot, the time in between is unknown and does not count.
//!
//! The format is the one of the first release with additional keys, which an older reader ignores: a pilot that is
//! rolled back keeps every address. For such a reader, the last entry of a name is the one that holds it, and
//! `released` is by the wall clock.

use std::{net::Ipv4Addr, time::Duration};

use boshy_mesh::{Hostname, LabelError, Lease, LeaseConflict, LeaseState, Leases, Moment, Origin, Timestamp};
use boshy_state::{Format, SealError};
use serde::{Deserialize, Serialize};

use crate::clock::Stamp;

const FORMAT: Format = Format { name: "boshy-leases", version: 1 };

/// Why a lease file is refused. It is not replaced then: a table that silently starts empty could give an address to
/// another service while clients still hold it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseFileError {
    /// It is no intact lease file that this boshy can read.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A name is not a mesh name.
    #[error("holds a name that is none")]
    Name(#[source] LabelError),
    /// Two names have the same address.
    #[error("gives one address to both {0} and {1}")]
    Shared(Hostname, Hostname),
    /// One name has two addresses.
    #[error("gives {0} both {a} and {b}", a = .1[0], b = .1[1])]
    Twice(Hostname, [Ipv4Addr; 2]),
}

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

/// Quarantine of an address. All times are in milliseconds.
#[derive(Deserialize, Serialize)]
struct Rest {
    /// Time in quarantine when this was written.
    rested: u64,
    /// Moment of the release, on the clock of `boot`.
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

/// Encodes a table as a file.
pub(crate) fn seal(leases: &Leases, stamp: &Stamp) -> Vec<u8> {
    let mut entries: Vec<_> = leases.iter().map(|(vip, lease)| Entry::new(vip, lease, stamp)).collect();
    entries.sort_by(|one, other| (&one.host, one.state).cmp(&(&other.host, other.state)));
    FORMAT.seal_json(&entries)
}

/// Decodes a table from a file.
///
/// # Errors
/// When the file is foreign, newer, damaged or inconsistent.
pub(crate) fn unseal(content: &[u8], stamp: &Stamp) -> Result<Leases, LeaseFileError> {
    let entries: Vec<Entry> = FORMAT.unseal_json(content)?;
    let leases = entries.into_iter().map(|entry| entry.lease(stamp)).collect::<Result<Vec<_>, _>>()?;
    Leases::restore(leases).map_err(|conflict| match conflict {
        LeaseConflict::Shared(one, other) => LeaseFileError::Shared(one, other),
        LeaseConflict::Twice(host, vips) => LeaseFileError::Twice(host, vips),
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

    fn lease(self, stamp: &Stamp) -> Result<(Ipv4Addr, Lease), LeaseFileError> {
        let host = Hostname::parse(&self.host).map_err(LeaseFileError::Name)?;
        let state = match self.state {
            State::Held => LeaseState::Held,
            State::Released(_) => LeaseState::Released(released(self.rest, stamp)),
        };
        Ok((self.vip, Lease { host, owner: self.owner, state }))
    }
}

/// When an address was released, on the clock of this boot. The wall clock is not used: it may have been wrong then or
/// be wrong now.
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
