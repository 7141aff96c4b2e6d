//! The one place that turns an outcome into an exit code, and an error into text.

use std::process::ExitCode;

use boshy_config::SettingsError;

/// `EX_USAGE`: the command line or the settings are wrong, and trying again does not help.
pub(crate) const USAGE: u8 = 64;

/// Prints an error as a chain, once, and chooses the exit code.
#[expect(clippy::print_stderr, reason = "the edge where errors become text")]
pub(crate) fn code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("boshy: {error:#}");
        if error.chain().any(|cause| cause.is::<SettingsError>()) { USAGE.into() } else { ExitCode::FAILURE }
    })
}
