//! `boshy lab`.

use std::{env, process::ExitCode};

use anyhow::Context;
use boshy_lab::{LabCommand, LabSettings};

pub(crate) fn run(command: &LabCommand) -> anyhow::Result<ExitCode> {
    let boshy = env::current_exe().context("find this program, which every process of the lab is made from")?;
    Ok(boshy_lab::run(command, LabSettings { boshy })?)
}
