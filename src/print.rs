//! Standard output of commands that answer.

use std::io::{self, Write};

use anyhow::Context;

/// Prints a line.
pub(crate) fn print(line: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        // A reader that closes the pipe early is not an error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("print the answer"),
        _ => Ok(()),
    }
}
