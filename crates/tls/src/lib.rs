//! Certificate files as TLS configurations that follow the files.
//!
//! ```text
//!   files --check at the start--> settings error that names the key
//!     └──── Following::current, for every new connection ────> Arc<configuration>
//! ```
//!
//! Certificates are replaced while processes run. So a configuration belongs to a connection and not to a process: the
//! code that opens or accepts a connection asks for the current configuration, which is read again when a file has
//! changed. Files that are half replaced or broken are logged once and change nothing: the last good configuration
//! stays in use.
//!
//! A client may have another certificate than that of its files, such as one that it was issued while it runs. It is
//! presented for as long as it is valid.
//!
//! Sessions are never resumed: each connection is verified with the files that are current when it is made. Connections
//! are few and long-lived.
//!
//! Not promised: that an open connection ends when its certificate expires or is replaced.

mod client;
mod error;
mod files;
mod following;
mod read;
mod subject;

pub use client::{ClientTls, NoPair};
pub use error::{BadPem, FileError, Reason};
pub use files::{ClientFiles, ServerFiles};
pub use following::{Following, ServerTls};
pub use subject::subject;

#[cfg(test)]
mod tests;
