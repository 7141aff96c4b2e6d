//! `boshy lab logs`: reads logs from the state directory, so that they are readable when the VM is gone.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    lab::{current, unexpected},
    show,
};
use crate::{
    error::{Doing, LabError},
    name::{InstanceName, InstanceRef},
    state_dir::StateDir,
};

/// Interval at which a growing log is read.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Shows the logs of a VM. Each line has its job's name when there is more than one job.
pub(super) fn run(state: &StateDir, instance: &InstanceRef, job: Option<&str>, follow: bool) -> Result<(), LabError> {
    let status = current(state)?;
    let name = instance.resolve(status.vms.iter().map(|vm| &vm.name))?;
    let vm = status.vms.iter().find(|vm| vm.name == *name).ok_or_else(unexpected)?;
    let directory = state.vcap(&vm.cid).join("sys/log");
    let jobs = job.map_or_else(|| folders(&directory), |job| vec![job.to_owned()]);
    let mut logs = Vec::new();
    for job in &jobs {
        if !directory.join(job).is_dir() {
            return Err(no_such_job(name, job, &directory));
        }
        let prefix = if jobs.len() > 1 { format!("{job}: ") } else { String::new() };
        logs.extend(["stdout", "stderr"].map(|stream| Log {
            path: directory.join(job).join(format!("{job}.{stream}.log")),
            read: 0,
            prefix: prefix.clone(),
        }));
    }
    loop {
        for log in &mut logs {
            log.show_new(!follow)?;
        }
        if !follow {
            return Ok(());
        }
        thread::sleep(LOOK_PAUSE);
    }
}

/// Jobs that have written logs.
fn folders(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let mut jobs: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    jobs.sort();
    jobs
}

fn no_such_job(name: &InstanceName, job: &str, directory: &Path) -> LabError {
    LabError::Refused(format!("{name} has no job {job}; it has {}", folders(directory).join(", ")))
}

struct Log {
    path: PathBuf,
    read: usize,
    prefix: String,
}

impl Log {
    /// Shows the lines added since the last call. An incomplete line is shown only in the last call.
    fn show_new(&mut self, last_look: bool) -> Result<(), LabError> {
        let doing = || format!("reading {}", self.path.display());
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(mut file) => {
                io::Seek::seek(&mut file, io::SeekFrom::Start(self.read as u64)).doing(doing)?;
                file.read_to_end(&mut text).doing(doing)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).doing(doing),
        }
        let whole =
            if last_look { text.len() } else { text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1) };
        self.read += whole;
        for line in String::from_utf8_lossy(&text[..whole]).lines() {
            show::line(&format!("{}{line}", self.prefix))?;
        }
        Ok(())
    }
}
