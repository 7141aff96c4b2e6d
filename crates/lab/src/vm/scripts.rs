//! Runs jobs' scripts as the BOSH agent does: `pre-start`, `post-start`, `pre-stop`, `post-stop` and `drain`, each for
//! all jobs at the same time, as root.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    children::{Children, End},
    drain::{self, Step},
};

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of a script's stderr included in an error.
const TAIL: u64 = 2048;

/// Runs one script of every job that has it.
///
/// # Errors
/// Which scripts failed and how, once all have ended.
pub(super) async fn run_all(children: &Children, jobs: &[String], script: &'static str) -> Result<(), String> {
    let runs = having(jobs, script).into_iter().map(|job| async move {
        let result = run(children, &job, script).await;
        (job, result)
    });
    sum_up(script, futures::future::join_all(runs).await)
}

/// Runs every job's `drain` until it reports that the job is drained.
///
/// # Errors
/// As for [`run_all`].
pub(super) async fn drain_all(children: &Children, jobs: &[String]) -> Result<(), String> {
    let runs = having(jobs, "drain").into_iter().map(|job| async move {
        let result = drain(children, &job).await;
        (job, result)
    });
    sum_up("drain", futures::future::join_all(runs).await)
}

fn having(jobs: &[String], script: &str) -> Vec<String> {
    jobs.iter().filter(|job| path(job, script).is_file()).cloned().collect()
}

fn path(job: &str, script: &str) -> PathBuf {
    Path::new("/var/vcap/jobs").join(job).join("bin").join(script)
}

/// The agent's summary, followed by the error of each failed script.
fn sum_up(script: &str, results: Vec<(String, Result<(), String>)>) -> Result<(), String> {
    let of = results.len();
    let (succeeded, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(|(_, result)| result.is_ok());
    if failed.is_empty() {
        return Ok(());
    }
    let names =
        |runs: &[(String, Result<(), String>)]| runs.iter().map(|(job, _)| job.as_str()).collect::<Vec<_>>().join(", ");
    let (count, lost, done) = (failed.len(), names(&failed), names(&succeeded));
    let mut text = format!("{count} of {of} {script} scripts failed. Failed Jobs: {lost}. Successful Jobs: {done}.");
    for (job, result) in failed {
        let reason = result.err().unwrap_or_default();
        text.push_str(&format!("\n{job}: {reason}"));
    }
    Err(text)
}

async fn run(children: &Children, job: &str, script: &str) -> Result<(), String> {
    let mut command = prepared(job, script).map_err(|error| format!("preparing {script}: {error}"))?;
    let mut stderr = log(job, script, "stderr").map_err(|error| format!("opening the log of {script}: {error}"))?;
    let before = stderr.seek(SeekFrom::End(0)).unwrap_or(0);
    let end = ended(children, &mut command).await?;
    if end == End::Exit(0) { Ok(()) } else { Err(told(end, &stderr, before)) }
}

async fn drain(children: &Children, job: &str) -> Result<(), String> {
    let mut reason = "job_shutdown";
    loop {
        let mut command = prepared(job, "drain").map_err(|error| format!("preparing drain: {error}"))?;
        let mut stderr = log(job, "drain", "stderr").map_err(|error| format!("opening the log of drain: {error}"))?;
        let before = stderr.seek(SeekFrom::End(0)).unwrap_or(0);
        let mut answer = tempfile().map_err(|error| format!("keeping what drain says: {error}"))?;
        let stdout = answer.try_clone().map_err(|error| format!("keeping what drain says: {error}"))?;
        command.args([reason, "hash_unchanged"]).stdout(stdout);
        let end = ended(children, &mut command).await?;
        if end != End::Exit(0) {
            return Err(told(end, &stderr, before));
        }
        let mut said = String::new();
        answer
            .rewind()
            .and_then(|()| answer.read_to_string(&mut said))
            .map_err(|error| format!("reading what drain says: {error}"))?;
        match drain::step(&said)? {
            Step::Wait(pause) => return pause_for(pause).await,
            Step::AskAgain(pause) => {
                pause_for(pause).await?;
                reason = "job_check_status";
            }
        }
    }
}

async fn pause_for(pause: Duration) -> Result<(), String> {
    tokio::time::sleep(pause).await;
    Ok(())
}

async fn ended(children: &Children, command: &mut Command) -> Result<End, String> {
    let (_, end) = children.spawn(command).map_err(|error| format!("it cannot be started: {error}"))?;
    end.await.map_err(|_| "its end was missed".to_owned())
}

fn prepared(job: &str, script: &str) -> io::Result<Command> {
    let mut command = Command::new(path(job, script));
    command.env_clear().env("PATH", PATH).current_dir("/").stdin(Stdio::null());
    if script == "pre-stop" {
        let next = ["BOSH_VM_NEXT_STATE", "BOSH_INSTANCE_NEXT_STATE", "BOSH_DEPLOYMENT_NEXT_STATE"];
        command.envs(next.map(|state| (state, "keep")));
    }
    command.stdout(log(job, script, "stdout")?).stderr(log(job, script, "stderr")?);
    Ok(command)
}

fn log(job: &str, script: &str, stream: &str) -> io::Result<File> {
    let directory = Path::new("/var/vcap/sys/log").join(job);
    DirBuilder::new().recursive(true).mode(0o770).create(&directory)?;
    let path = directory.join(format!("{script}.{stream}.log"));
    OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)
}

/// A file without a name, so that a script with much output cannot block on a pipe.
fn tempfile() -> io::Result<File> {
    let path = format!("/tmp/.drain-{:016x}", rand::random::<u64>());
    let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

fn told(end: End, mut stderr: &File, before: u64) -> String {
    let length = stderr.metadata().map_or(before, |file| file.len());
    let mut tail = Vec::new();
    let read = stderr
        .seek(SeekFrom::Start(before.max(length.saturating_sub(TAIL))))
        .and_then(|_| stderr.take(TAIL).read_to_end(&mut tail));
    let tail = String::from_utf8_lossy(&tail);
    match read {
        Ok(_) if !tail.trim().is_empty() => format!("{end}; its stderr ends with:\n{}", tail.trim_end()),
        _ => end.to_string(),
    }
}
