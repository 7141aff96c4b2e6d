//! The program `boshy-test-peer` in VMs of a lab: ends of connections that follow orders and report the results.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use crate::driver::Lab;

/// Copies a program into a VM, unless it is there, and returns its path. `None` when the VM does not take it.
pub(crate) fn put(lab: &Lab, vm: &str, program: &str) -> Option<String> {
    let path = format!("/tmp/{}", Path::new(program).file_name()?.to_str()?);
    let copy = format!("[ -x {path} ] || {{ cat >{path}.$$ && chmod +x {path}.$$ && mv {path}.$$ {path}; }}");
    let mut copying = lab.command(["exec", vm, "--", "sh", "-c", &copy]);
    let copied = copying.stdin(File::open(program).unwrap()).stderr(Stdio::null()).status().unwrap();
    copied.success().then_some(path)
}

/// A peer that runs in a VM until the value is dropped.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a peer; see `boshy-test-peer` for its arguments.
    pub(crate) fn start(lab: &Lab, vm: &str, arguments: &[&str]) -> Self {
        let program = put(lab, vm, env!("CARGO_BIN_EXE_boshy-test-peer")).expect("the VM takes a program");
        let mut command = lab.command(["exec", vm, "--", &program].iter().chain(arguments));
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
