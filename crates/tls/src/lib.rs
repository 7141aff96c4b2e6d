//! Certificate files as TLS configurations that follow the files.
//!
//! ```text
//!   files --check at the start--> settings error that names the key
//!     └──── Following::current, for every new connection ────> Arc<configuration>
//! ```
//!
//! A certificate is replaced while processes run. So a configuration belongs to a connection and not to a process: whoever makes
//! one asks for the current configuration, which is read anew when a file has changed. Files that are half replaced, or broken,
//! are told once and change nothing; what was read before stays in use.
//!
//! Sessions are never resumed: each connection is verified with the files of its time. Connections are few and long.
//!
//! Not promised: that open connections end when their certificate does.

mod error;
mod files;
mod following;
mod read;
mod subject;

pub use error::{BadPem, FileError, Reason};
pub use files::{ClientFiles, ServerFiles};
pub use following::{ClientTls, Following, ServerTls};
pub use subject::subject;

#[cfg(test)]
mod tests;
