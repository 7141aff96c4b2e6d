//! How a port is brought from one mode to another without a lost connection.
//!
//! | stage | instances accept | callers in the mesh use |
//! |---|---|---|
//! | `Plain` | plaintext | plaintext |
//! | `Prepared` | both | plaintext |
//! | `Tunnelled` | both | tunnels |
//! | `Closed` | tunnels | tunnels |
//!
//! Callers and instances hear of a change in no order. Of two neighbouring stages one side only does something else, and
//! the other side bears both. So a port moves by one stage at a time, and moves on once everybody has accepted the move
//! ([`Moves`](crate::Moves)). A port that nobody has used yet begins where it is to be.

use serde::{Deserialize, Serialize};

use crate::MtlsMode;

/// See the module's documentation. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Everybody uses plaintext.
    Plain,
    /// Instances accept tunnels, which nobody uses.
    Prepared,
    /// Callers use tunnels, and instances accept plaintext as well.
    Tunnelled,
    /// Instances accept tunnels only.
    Closed,
}

/// What a port waits for before it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether all instances of the service accept tunnels.
    pub able: bool,
    /// Whether everybody has accepted the port's last move.
    pub settled: bool,
    /// Whether the time is up in which an instance could become able.
    pub late: bool,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Plain, Self::Prepared, Self::Tunnelled, Self::Closed];

    /// Where a port begins that has not been published before.
    pub fn first(wanted: MtlsMode) -> Self {
        match wanted {
            MtlsMode::Disable => Self::Plain,
            MtlsMode::Permissive => Self::Prepared,
            MtlsMode::Strict => Self::Closed,
        }
    }

    /// Where a mode leads in the end.
    pub fn goal(wanted: MtlsMode) -> Self {
        match wanted {
            MtlsMode::Disable => Self::Plain,
            MtlsMode::Permissive => Self::Tunnelled,
            MtlsMode::Strict => Self::Closed,
        }
    }

    /// The stage to be published next. Callers begin to use tunnels once all instances accept them; of a service that is
    /// to be strict, an instance that never does holds the others back for a time only.
    #[must_use]
    pub fn next(self, wanted: MtlsMode, standing: Standing) -> Self {
        let goal = Self::goal(wanted);
        let may_tunnel = standing.able || (standing.late && wanted == MtlsMode::Strict);
        if !standing.settled || self == goal || (self == Self::Prepared && goal > self && !may_tunnel) {
            return self;
        }
        let index = self as usize;
        Self::ALL[if goal > self { index + 1 } else { index - 1 }]
    }

    /// What instances accept.
    pub fn mode(self) -> MtlsMode {
        match self {
            Self::Plain => MtlsMode::Disable,
            Self::Prepared | Self::Tunnelled => MtlsMode::Permissive,
            Self::Closed => MtlsMode::Strict,
        }
    }

    /// Whether callers use tunnels.
    pub fn is_tunnelled(self) -> bool {
        self >= Self::Tunnelled
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
