//! State files: what a process keeps for the next one.
//!
//! ```text
//!   owner: content and its meaning ──> Format::seal ──> replace ──> disk::work ──> file and copy
//!   owner: content and its meaning <── Format::unseal <── read  <── disk::work <──'
//! ```
//!
//! * [`Format`] puts a header before the content: the format's name and version, and a checksum.
//! * [`replace`] writes a file and its copy such that a reader, and the next start after a power cut, sees the old or the
//!   new content and never a part. [`read`] reads regular files of bounded size, and nothing else. One of the two may be
//!   damaged: then the other is read, and the damaged one is written again.
//! * [`Growing`] writes the changes of a large file alone, and [`read_growing`] reads both.
//! * [`disk`] does that work on other threads, because a disk that hangs blocks the calling thread forever.
//!
//! What the content means, and what happens when a file is lost or refused, is up to its owner.

pub mod disk;
mod error;
mod file;
mod format;
mod growing;
mod medium;
mod regular;
#[cfg(test)]
mod simulated;
mod threads;
mod twofold;

pub use error::{ReadError, StateFileError};
pub use file::{read, replace, replace_in_time, sweep};
pub use format::{Format, SealError};
pub use growing::{Growing, has_changes, read_growing};
pub use regular::{must_be_regular, read_regular};
