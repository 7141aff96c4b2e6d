//! Parses the monit files of jobs that run under bpm.
//!
//! Only the part of monit's language that such a job needs is supported: `check process NAME with pidfile PATH`, `start
//! program`, `stop program`, both a call of bpm, `group`, and `if failed unixsocket PATH send TEXT expect TEXT timeout
//! N seconds for N cycles then restart`. Any other statement would have to be acted upon, so it is refused by name.

use std::{iter::Peekable, path::PathBuf, time::Duration};

const BPM: &str = "/var/vcap/jobs/bpm/bin/bpm";

/// A process that monit watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// Monit's name for it.
    pub(super) name: String,
    /// The job that bpm starts.
    pub(super) job: String,
    /// Name of the process within the job.
    pub(super) process: String,
    /// Its health check, if any.
    pub(super) health: Option<HealthCheck>,
}

/// A request that a process has to answer, once per monit cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HealthCheck {
    /// Unix socket for the request.
    pub(super) socket: PathBuf,
    /// Text to send.
    pub(super) send: String,
    /// Text that the answer must contain. Monit treats it as a regular expression; here a dot is a literal dot.
    pub(super) expect: String,
    /// Time for the whole check.
    pub(super) timeout: Duration,
    /// Number of failures in a row after which the process is restarted.
    pub(super) cycles: u32,
}

/// Parses a monit file; an empty one has no checks.
pub(super) fn parse(text: &str) -> Result<Vec<Check>, String> {
    let mut tokens = tokens(text)?.into_iter().peekable();
    let mut checks = Vec::new();
    while tokens.peek().is_some() {
        checks.push(check(&mut tokens)?);
    }
    Ok(checks)
}

/// A word or a quoted text.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next().filter(|first| *first != '#') {
            let quoted = matches!(first, '"' | '\'');
            let word = if quoted {
                let inner = &rest[1..];
                let end = inner.find(first).ok_or_else(|| format!("line {}: a quote is not closed", number + 1))?;
                rest = &inner[end + 1..];
                &inner[..end]
            } else {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let word = &rest[..end];
                rest = &rest[end..];
                word
            };
            // Monit ignores it as well.
            if quoted || word != "=" {
                tokens.push(Token { line: number + 1, text: word.to_owned() });
            }
            rest = rest.trim_start();
        }
    }
    Ok(tokens)
}

fn check(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> Result<Check, String> {
    expect(tokens, "check")?;
    expect(tokens, "process")?;
    let name = value(tokens, "the name of a process")?;
    skip(tokens, "with");
    expect(tokens, "pidfile")?;
    let pid_file = value(tokens, "the path of a pid file")?;
    let (mut started, mut health) = (None, None);
    while let Some(token) = tokens.next_if(|token| !token.text.eq_ignore_ascii_case("check")) {
        match token.text.to_ascii_lowercase().as_str() {
            "start" => started = Some(program(tokens, "start", token.line)?),
            "stop" => drop(program(tokens, "stop", token.line)?),
            "group" => drop(value(tokens, "the name of a group")?),
            "if" => health = Some(health_check(tokens)?),
            other => {
                return Err(format!(
                    "line {}: `{other}` is not among what is understood here: check process, pidfile, start program, stop program, group, if failed unixsocket",
                    token.line
                ));
            }
        }
    }
    let (job, process) = started.ok_or_else(|| format!("process {name} has no start program"))?;
    let written = format!("/var/vcap/sys/run/bpm/{job}/{process}.pid");
    if pid_file != written {
        return Err(format!("process {name} has the pidfile {pid_file}, but bpm writes {written}"));
    }
    Ok(Check { name, job, process, health })
}

/// Parses `program "BPM start JOB [-p PROCESS]" [with timeout N seconds]` to job and process.
fn program(
    tokens: &mut Peekable<impl Iterator<Item = Token>>,
    verb: &str,
    line: usize,
) -> Result<(String, String), String> {
    expect(tokens, "program")?;
    let command = value(tokens, "a command")?;
    if skip(tokens, "with") || tokens.peek().is_some_and(|token| token.text.eq_ignore_ascii_case("timeout")) {
        expect(tokens, "timeout")?;
        value(tokens, "a number")?;
        expect(tokens, "seconds")?;
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    match words[..] {
        [BPM, said, job] if said == verb => Ok((job.to_owned(), job.to_owned())),
        [BPM, said, job, "-p", process] if said == verb => Ok((job.to_owned(), process.to_owned())),
        _ => Err(format!(
            "line {line}: the {verb} program {command:?} is not a call of bpm such as \"{BPM} {verb} JOB -p PROCESS\"; processes are run by bpm only"
        )),
    }
}

/// Parses `failed unixsocket PATH send TEXT expect TEXT [with] timeout N seconds for N cycles then restart`.
fn health_check(tokens: &mut Peekable<impl Iterator<Item = Token>>) -> Result<HealthCheck, String> {
    expect(tokens, "failed")?;
    expect(tokens, "unixsocket")?;
    let socket = PathBuf::from(value(tokens, "the path of a socket")?);
    expect(tokens, "send")?;
    let send = unescaped(&value(tokens, "a text to send")?)?;
    expect(tokens, "expect")?;
    let expected = value(tokens, "a text to expect")?;
    if let Some(special) = expected.chars().find(|special| "*+?[](){}|^$\\".contains(*special)) {
        return Err(format!(
            "`expect {expected:?}` is a regular expression with `{special}`, which is not understood here"
        ));
    }
    skip(tokens, "with");
    expect(tokens, "timeout")?;
    let timeout = Duration::from_secs(number(tokens)?.into());
    expect(tokens, "seconds")?;
    expect(tokens, "for")?;
    let cycles = number(tokens)?;
    expect(tokens, "cycles")?;
    expect(tokens, "then")?;
    expect(tokens, "restart")?;
    Ok(HealthCheck { socket, send, expect: expected, timeout, cycles })
}

fn number(tokens: &mut impl Iterator<Item = Token>) -> Result<u32, String> {
    let text = value(tokens, "a number")?;
    text.parse().map_err(|_| format!("there is `{text}` where a number belongs"))
}

fn unescaped(text: &str) -> Result<String, String> {
    let plain = text.replace("\\r", "\r").replace("\\n", "\n");
    if plain.contains('\\') { Err(format!("{text:?} has an escape that is not understood here")) } else { Ok(plain) }
}

fn expect(tokens: &mut impl Iterator<Item = Token>, keyword: &str) -> Result<(), String> {
    match tokens.next() {
        Some(token) if token.text.eq_ignore_ascii_case(keyword) => Ok(()),
        Some(token) => Err(format!("line {}: there is `{}` where `{keyword}` belongs", token.line, token.text)),
        None => Err(format!("ends where `{keyword}` belongs")),
    }
}

fn value(tokens: &mut impl Iterator<Item = Token>, what: &str) -> Result<String, String> {
    tokens.next().map(|token| token.text).ok_or_else(|| format!("ends where {what} belongs"))
}

fn skip(tokens: &mut Peekable<impl Iterator<Item = Token>>, keyword: &str) -> bool {
    tokens.next_if(|token| token.text.eq_ignore_ascii_case(keyword)).is_some()
}

#[cfg(test)]
#[path = "monit_tests.rs"]
mod tests;
