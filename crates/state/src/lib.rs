//! State files: what a process keeps for the next one.
//!
//! ```text
//!   owner: content and its meaning ──> Format::seal ──> replace ──> disk::work ──> the disk
//!   owner: content and its meaning <── Format::unseal <── read  <── disk::work <──'
//! ```
//!
//! * [`Format`] puts a header before the content: the format's name and version, and a checksum.
//! * [`replace`] writes a file such that a reader, and the next start after a power cut, sees the old or the new
//!   content and never a part. [`read`] reads a regular file of bounded size, and nothing else.
//! * [`disk`] does that work on a thread of its own, because a disk that hangs blocks the calling thread forever.
//!
//! What the content means, and what happens when a file is lost or refused, is up to its owner.

pub mod disk;
mod file;
mod format;

pub use file::{StateFileError, must_be_regular, read, read_regular, replace, replace_in_time, sweep};
pub use format::{Format, SealError};
