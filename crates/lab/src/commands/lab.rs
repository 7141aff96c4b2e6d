//! The running lab, as commands find it.

use std::{fs, path::Path};

use crate::{
    cli::StateArg,
    client::Client,
    error::{Doing, LabError},
    name::{InstanceName, InstanceRef},
    protocol::{Answer, LabStatus, Request},
    state_dir::StateDir,
};

pub(super) fn dir(state: &StateArg) -> Result<StateDir, LabError> {
    StateDir::new(state.state_dir.as_deref())
}

pub(super) fn current(state: &StateDir) -> Result<LabStatus, LabError> {
    match Client::connect(state)?.ask_quietly(&Request::Status)? {
        Answer::Status(status) => Ok(status),
        _ => Err(unexpected()),
    }
}

/// Checks that a lab is running by asking its keeper, because a director that has ended leaves its file behind.
pub(super) fn running(state: &StateDir) -> Result<(), LabError> {
    Client::connect(state).map(drop)
}

/// The full name of the VM, and the pid of its first process as the keeper sees it.
pub(super) fn find(client: Client, instance: &InstanceRef) -> Result<(InstanceName, u32), LabError> {
    match client.ask_quietly(&Request::Find { instance: instance.clone() })? {
        Answer::Found { name, pid } => Ok((name, pid)),
        _ => Err(unexpected()),
    }
}

pub(super) fn read(file: &Path) -> Result<String, LabError> {
    fs::read_to_string(file).doing(|| format!("reading {}", file.display()))
}

pub(super) fn unexpected() -> LabError {
    LabError::Refused("the lab's keeper gave an unexpected answer; is it of another version?".to_owned())
}
