//! The processes of a VM according to its jobs' files: monit files and `bpm.yml`.

use std::{collections::BTreeSet, fs, io, path::Path};

use boshy_lab_director::{ApplySpec, RenderedJob};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::{
    bpm_yml::{self, Process, ShutdownSignal},
    monit,
};

/// The job that this program implements itself.
pub(super) const BOSH_DNS_JOB: &str = "bosh-dns";

/// A process to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    /// Monit's name for it.
    pub(super) name: String,
    pub(super) job: String,
    /// Its health check, if any.
    pub(super) health: Option<monit::HealthCheck>,
    pub(super) program: Program,
}

/// The program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Run by bpm.
    Contained(Box<Contained>),
    /// bosh-dns, implemented by this program.
    BoshDns,
}

/// A process of a job that runs under bpm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contained {
    pub(super) job: String,
    pub(super) process: Process,
}

impl Watched {
    /// Its shutdown signal.
    pub(super) fn shutdown_signal(&self) -> Signal {
        match &self.program {
            Program::Contained(contained) if contained.process.shutdown_signal == ShutdownSignal::Int => Signal::SIGINT,
            Program::Contained(_) | Program::BoshDns => Signal::SIGTERM,
        }
    }
}

/// The files of a job that define its processes.
struct JobFiles {
    name: String,
    monit: String,
    bpm: Option<String>,
}

/// The processes of jobs that are about to be applied.
pub(super) fn of_spec(spec: &ApplySpec) -> Result<Vec<Watched>, String> {
    let files = |job: &RenderedJob| JobFiles {
        name: job.name.clone(),
        monit: job.monit.clone(),
        bpm: job.files.iter().find(|file| file.path == "config/bpm.yml").map(|file| file.content.clone()),
    };
    all(spec.jobs.iter().map(files).collect())
}

/// The processes of the applied jobs, given `/var/vcap`.
pub(super) fn on_disk(vcap: &Path) -> Result<Vec<Watched>, String> {
    let read = |error: io::Error| format!("reading the monit files: {error}");
    let mut jobs = Vec::new();
    for entry in fs::read_dir(vcap.join("monit/job")).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if let Some((order, name)) = stem.split_once('_') {
            let bpm = fs::read_to_string(vcap.join("jobs").join(name).join("config/bpm.yml")).ok();
            let monit = fs::read_to_string(&path).map_err(read)?;
            jobs.push((order.to_owned(), JobFiles { name: name.to_owned(), monit, bpm }));
        }
    }
    jobs.sort_by(|one, other| one.0.cmp(&other.0));
    all(jobs.into_iter().map(|(_, job)| job).collect())
}

fn all(jobs: Vec<JobFiles>) -> Result<Vec<Watched>, String> {
    let mut watched = Vec::new();
    for job in jobs {
        watched.extend(of_job(&job).map_err(|reason| format!("job {}: {reason}", job.name))?);
    }
    let mut names = BTreeSet::new();
    match watched.iter().find(|process| !names.insert(process.name.as_str())) {
        Some(twice) => Err(format!("job {}: monit has another process {} already", twice.job, twice.name)),
        None => Ok(watched),
    }
}

fn of_job(job: &JobFiles) -> Result<Vec<Watched>, String> {
    if job.name == BOSH_DNS_JOB {
        let name = BOSH_DNS_JOB.to_owned();
        return Ok(vec![Watched { name: name.clone(), job: name, health: None, program: Program::BoshDns }]);
    }
    let checks = monit::parse(&job.monit).map_err(|reason| format!("its monit file, {reason}"))?;
    if checks.is_empty() {
        return Ok(Vec::new());
    }
    let text = job.bpm.as_deref().ok_or("it has a process, but no config/bpm.yml")?;
    let processes = bpm_yml::parse(&job.name, text).map_err(|reason| format!("config/bpm.yml, {reason}"))?;
    let watched = |check: monit::Check| {
        if check.job != job.name {
            return Err(format!("its monit file starts a process of the job {}", check.job));
        }
        let process = processes.iter().find(|process| process.name == check.process);
        let process = process.ok_or_else(|| format!("config/bpm.yml has no process {}", check.process))?.clone();
        let program = Program::Contained(Box::new(Contained { job: job.name.clone(), process }));
        Ok(Watched { name: check.name, job: job.name.clone(), health: check.health, program })
    };
    checks.into_iter().map(watched).collect()
}

/// Settings of these processes that are not enforced.
pub(super) fn unenforced(watched: &[Watched]) -> Vec<String> {
    let mut notes = Vec::new();
    for process in watched {
        let Program::Contained(contained) = &process.program else { continue };
        let limits = &contained.process.limits;
        // The kernel's limit on processes would count those of the user on all VMs.
        let asked = [("memory", limits.memory.is_some()), ("processes", limits.processes.is_some())];
        let asked: Vec<_> = asked.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name).collect();
        if !asked.is_empty() {
            notes.push(format!("{}: the limit of {} is not enforced", process.name, asked.join(" and ")));
        }
    }
    notes
}
