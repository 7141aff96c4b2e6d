//! How the wall clock of a VM jumps.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Takes a jump back, as a shell command in a VM.
pub(crate) const NO_JUMP: &str = "rm -f /etc/clock-jump";

/// A shell command in a VM that sets its wall clock apart from the machine's, by seconds.
pub(crate) fn jump(by: i64) -> String {
    format!("echo {by} > /etc/clock-jump")
}

/// Makes the library by which wall clocks jump, in a folder.
pub(crate) fn library(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::write(&source, include_str!("../../tools/clock.c")).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o"]).args([&library, &source]);
    assert!(compiler.stdin(Stdio::null()).status().unwrap().success(), "{compiler:?}");
    library
}
