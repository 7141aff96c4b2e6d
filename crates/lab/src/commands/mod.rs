//! The commands of `boshy lab`. Those that are more than a request have their own file.

mod bring_up;
mod down;
mod exec;
mod lab;
mod logs;
mod show;
mod up;

use std::{path::Path, process::ExitCode};

use self::lab::{current, dir, read, running};
use crate::{
    LabSettings,
    access::Access,
    cli::{JobArgs, LabCommand, StateArg},
    client::Client,
    error::{Doing, LabError},
    keeper, launch,
    protocol::Request,
    state_dir::StateDir,
    vm::{self, protocol::JobAction},
};

/// Runs a command.
pub(crate) fn run(command: &LabCommand, lab: LabSettings) -> Result<ExitCode, LabError> {
    match command {
        LabCommand::Up(arguments) => up::run(arguments, &lab)?,
        LabCommand::Status { json, state } => status(&dir(state)?, *json)?,
        LabCommand::Env { state } => env(&dir(state)?)?,
        LabCommand::UploadRelease { file, state } => bring_up::upload_release(&dir(state)?, file)?,
        LabCommand::Release(arguments) => bring_up::release(arguments, &lab)?,
        LabCommand::Deploy { file, state } => deploy(&dir(state)?, file)?,
        LabCommand::Delete { deployment, state } => bring_up::delete(&dir(state)?, deployment)?,
        LabCommand::Reboot { instance, state } => {
            up::ask(&dir(state)?, &Request::Reboot { instance: instance.clone() })?;
        }
        LabCommand::Exec { instance, state, command } => return exec::run(&dir(state)?, instance, command),
        LabCommand::Stop(arguments) => job(arguments, JobAction::Stop)?,
        LabCommand::Start(arguments) => job(arguments, JobAction::Start)?,
        LabCommand::Kill(arguments) => job(arguments, JobAction::Kill)?,
        LabCommand::Logs { instance, job, follow, state } => {
            logs::run(&dir(state)?, instance, job.as_deref(), *follow)?;
        }
        LabCommand::Down { state } => down::run(&dir(state)?)?,
        LabCommand::Spoil { fault, route, times, state } => {
            let fault = serde_json::from_str(fault).doing(|| format!("reading the fault {fault}"))?;
            tell(state, &Request::Spoil { fault, route: route.clone(), times: *times })?;
        }
        LabCommand::Heal { state } => tell(state, &Request::Heal)?,
        LabCommand::Launcher { state } => launch::launch(&lab, &dir(state)?)?,
        LabCommand::Keeper { state } => keeper::run(lab, &dir(state)?)?,
        LabCommand::Vm => vm::run()?,
        LabCommand::Bpm => vm::run_contained()?,
        LabCommand::Compile => vm::run_compilation()?,
        LabCommand::BoshDns => boshy_lab_dns::run()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status(state: &StateDir, json: bool) -> Result<(), LabError> {
    let status = current(state)?;
    let text = if json {
        serde_json::to_string_pretty(&status).doing(|| "writing the status as JSON".to_owned())?
    } else {
        crate::table::render(&status)
    };
    show::line(&text)
}

fn env(state: &StateDir) -> Result<(), LabError> {
    running(state)?;
    show::line(&Access::read(state)?.exports())
}

fn deploy(state: &StateDir, file: &Path) -> Result<(), LabError> {
    bring_up::deploy(state, &read(file)?)?;
    up::ask(state, &Request::Ready)
}

fn job(arguments: &JobArgs, action: JobAction) -> Result<(), LabError> {
    let JobArgs { instance, job, state } = arguments;
    tell(state, &Request::Job { instance: instance.clone(), job: job.clone(), action })
}

/// A request whose answer says nothing more.
fn tell(state: &StateArg, request: &Request) -> Result<(), LabError> {
    Client::connect(&dir(state)?)?.ask_quietly(request).map(drop)
}
