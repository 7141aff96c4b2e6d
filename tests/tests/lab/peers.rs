//! The program `boshy-test-peer` in VMs of a lab: ends of connections that follow orders and report the results.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use crate::driver::Lab;

const PROGRAM: &str = "/tmp/boshy-test-peer";

/// A peer that runs in a VM until the value is dropped.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a peer; see `boshy-test-peer` for its arguments.
    pub(crate) fn start(lab: &Lab, vm: &str, arguments: &[&str]) -> Self {
        let copy = format!(
            "[ -x {PROGRAM} ] || {{ cat >{PROGRAM}.$$ && chmod +x {PROGRAM}.$$ && mv {PROGRAM}.$$ {PROGRAM}; }}"
        );
        let mut copying = lab.command(["exec", vm, "--", "sh", "-c", &copy]);
        let program = File::open(env!("CARGO_BIN_EXE_boshy-test-peer")).unwrap();
        assert!(copying.stdin(program).status().unwrap().success());
        let mut command = lab.command(["exec", vm, "--", PROGRAM].iter().chain(arguments));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// A peer that listens.
    pub(crate) fn listening(lab: &Lab, vm: &str, arguments: &[&str]) -> Self {
        let mut peer = Self::start(lab, vm, arguments);
        assert_eq!(peer.hears(), "ready", "{vm}: {arguments:?}");
        peer
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Its next line of output.
    pub(crate) fn hears(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Kills the process, so that the kernel ends its connections.
    fn ends(&mut self) {
        drop(self.input.take());
        let _ = std::process::Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ends();
    }
}
