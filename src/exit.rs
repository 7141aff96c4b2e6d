//! Turns an outcome into an exit code, and an error into text. No other module does either.

use std::process::ExitCode;

use boshy_actors::StartError;
use boshy_config::SettingsError;

/// `EX_USAGE`: the command line or the settings are wrong, so a retry does not help.
pub(crate) const USAGE: u8 = 64;

/// Prints an error as a chain, once, and chooses the exit code.
#[expect(clippy::print_stderr, reason = "errors become text here, and only here")]
pub(crate) fn code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("boshy: {error:#}");
        if is_usage(&error) { USAGE.into() } else { ExitCode::FAILURE }
    })
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<SettingsError>() || cause.downcast_ref::<StartError>().is_some_and(StartError::is_usage)
    })
}
