//! Running a program with input, a limit in time, and bounded output.

use std::{
    env,
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::{AsFd, AsRawFd},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::memfd::{MFdFlags, memfd_create},
};

use crate::error::ProgramError;

/// No program needs this long; `iptables-restore` itself gives up on its lock after 5 s.
const LIMIT: Duration = Duration::from_secs(10);
/// A Kubernetes node's `iptables-save` prints some 10 MB.
const LONGEST_OUTPUT: usize = 64 << 20;
const LONGEST_COMPLAINT: usize = 2000;
/// Where distributions keep these programs; a job's PATH often lacks them.
const USUAL_PLACES: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// Runs a program to its end and answers what it printed.
pub(super) fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<String, ProgramError> {
    run_within(LIMIT, program, arguments, input)
}

fn run_within(limit: Duration, program: &'static str, arguments: &[&str], input: &str) -> Result<String, ProgramError> {
    let deadline = Instant::now() + limit;
    let failed = |source| ProgramError::Start { program, source };
    let path = env::var("PATH").map_or_else(|_| USUAL_PLACES.to_owned(), |path| format!("{path}:{USUAL_PLACES}"));
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .stdin(in_memory(input).map_err(failed)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let ended = collect(&mut child, deadline);
    if !matches!(ended, Ok(Some(_))) {
        // It can only fail when the child has already ended; either way the child is waited for.
        let _ = child.kill();
        let _ = child.wait();
    }
    let Some((output, complaint)) = ended.map_err(failed)? else {
        return Err(ProgramError::TooLong { program, limit });
    };
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&output).into_owned());
    }
    let stderr = String::from_utf8_lossy(&complaint[..complaint.len().min(LONGEST_COMPLAINT)]).trim().to_owned();
    Err(ProgramError::Failed { program, status, stderr })
}

/// Input as a file, so that a program that does not read cannot block its writer.
fn in_memory(input: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("input", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Reads both outputs to their ends, and waits for the child; `None` when the deadline came first.
fn collect(child: &mut Child, deadline: Instant) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the program has no output"));
    };
    for pipe in [out.as_fd(), err.as_fd()] {
        fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let (mut output, mut complaint) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let mut waited = Vec::with_capacity(2);
        if out_open {
            waited.push(PollFd::new(out.as_fd(), PollFlags::POLLIN));
        }
        if err_open {
            waited.push(PollFd::new(err.as_fd(), PollFlags::POLLIN));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        poll(&mut waited, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
        out_open = out_open && take(&mut out, &mut output)?;
        err_open = err_open && take(&mut err, &mut complaint)?;
    }
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Some((output, complaint)))
}

/// Reads what is there; `false` at the end.
fn take(pipe: &mut (impl Read + AsRawFd), into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(_) if into.len() > LONGEST_OUTPUT => return Err(io::Error::other("the output is longer than 64 MB")),
            Ok(length) => into.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_longer_than_a_pipe_goes_through() {
        let long = "boshy\n".repeat(100_000);
        assert_eq!(run("cat", &[], &long).unwrap(), long);
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_its_limit() {
        let begun = Instant::now();
        let limit = Duration::from_millis(50);
        let ended = run_within(limit, "sleep", &["60"], "");
        assert!(matches!(ended, Err(ProgramError::TooLong { program: "sleep", .. })), "{ended:?}");
        // It also hangs when it has closed its outputs.
        let ended = run_within(limit, "sh", &["-c", "exec >&- 2>&-; exec sleep 60"], "");
        assert!(matches!(ended, Err(ProgramError::TooLong { program: "sh", .. })), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_program_complains_about_is_in_the_error() {
        let error = run("sh", &["-c", "echo no >&2; exit 3"], "").unwrap_err();
        assert_eq!(error.to_string(), "sh ended with exit status: 3: no");
    }

    #[test]
    fn a_program_that_is_not_installed_is_named() {
        let error = run("no-such-program-anywhere", &[], "").unwrap_err();
        assert_eq!(error.to_string(), "cannot run no-such-program-anywhere");
    }
}
