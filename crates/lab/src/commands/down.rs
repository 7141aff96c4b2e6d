//! `boshy lab down`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::show;
use crate::{client::Client, error::LabError, protocol::Request, state_dir::StateDir};

/// Time for the kernel to kill and reap every process of the lab.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the keeper, waits until the kernel has ended everything below it, and removes the state directory.
pub(super) fn run(state: &StateDir) -> Result<(), LabError> {
    let running = match Client::find(state)? {
        Some(client) => {
            let keeper = client.keeper_pid()?;
            client.ask_quietly(&Request::Down)?;
            wait_until_gone(keeper)?;
            true
        }
        None => false,
    };
    let cleared = state.remove()?;
    show::note(match (running, cleared) {
        (true, _) => "the lab is down",
        (false, true) => "no lab was running; cleared what one had left",
        (false, false) => "no lab is running",
    });
    Ok(())
}

/// The keeper is not a child of this process, so it can be polled but not waited for.
fn wait_until_gone(pid: i32) -> Result<(), LabError> {
    let deadline = Instant::now() + PATIENCE;
    while alive(pid) {
        if Instant::now() > deadline {
            return Err(LabError::Refused(format!("the lab's keeper, process {pid}, does not end")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A zombie counts as ended: it holds no resources, and its parent may never reap it.
fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}
