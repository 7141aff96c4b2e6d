//! Agreement of several writers on the next version of a value, over a log to which they can only append.
//!
//! The pilots of a mesh agree on one table of virtual-IP leases. Their log is a config of the director. The director
//! offers a compare-and-set (`expected_latest_id`), but it checks first and inserts later, without a lock: two writers
//! may both be told that they were first. Nor is the order of ids an order of visibility. Therefore only two things are
//! asked of a log:
//!
//! * A row whose append was answered is in every later reading of the log.
//! * A row that was appended twice counts once.
//!
//! On these the writers run *adopt-commit* rounds (Gafni, *Round-by-round fault detectors*, PODC 1998). In a round a
//! writer first proposes a value. It then reads the proposals of the round, and votes: to commit when all proposals are
//! equal, otherwise to adopt the smallest. It then reads the votes of the round. When all votes commit, the value is
//! decided. When some do, their value is proposed in the next round. Two writers never decide different values, whatever
//! the speed of each, and whichever of them stops forever.
//!
//! Each version has a number, its *slot*. [`Proposal`] is one writer's attempt at the next slot. [`Ledger`] is what a
//! writer knows of decided slots. It never goes back to an older one. When the log goes back, because somebody has
//! deleted rows, the ledger says which row puts the log right.
//!
//! Everything here is pure: the caller reads the log, appends the rows and keeps the ledger on disk.
//!
//! What is not promised: rows that are deleted *while* a proposal for their slot is under way may let two writers decide
//! differently. [`News::Forked`] reports it. The search over all interleavings (`search_tests.rs`) shows both: that
//! nothing else breaks the agreement, and that this does.

mod ledger;
mod proposal;
mod row;

pub use ledger::{Decided, Ledger, News};
pub use proposal::{Proposal, Step};
pub use row::{Phase, Row};

#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod tests;
