//! `boshy httpbin`.

use std::process::ExitCode;

use boshy_httpbin::HttpbinCommand;

pub(crate) fn run(command: &HttpbinCommand) -> anyhow::Result<ExitCode> {
    boshy_httpbin::run(command)?;
    Ok(ExitCode::SUCCESS)
}
