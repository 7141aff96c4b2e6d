//! Keeps private keys in the memory of this process, and of the Envoy that it starts.
//!
//! The agent holds the key of its VM's identity, the pilot that of the certificate authority, and Envoy gets the VM's
//! from its agent. Two ways lead out of a process: the core that a crash leaves, on disk or in the pipe of a collector,
//! and `/proc/PID/mem` or ptrace, by which another process of the same user reads it. All jobs of a VM may have one user
//! (`vcap`), and bpm gives each a namespace of processes, which a process outside of bpm is not bound by.
//!
//! | process | core | other processes of its user |
//! |---|---|---|
//! | pilot, agent | none (not dumpable) | refused by the kernel (not dumpable) |
//! | Envoy | none (limit on cores, which it inherits) | left as it is: exec makes a process dumpable again |
//!
//! root is not kept out, so `gdb`, `strace`, `perf` and `gcore` work for root, and only for root. A process that is not
//! dumpable owns none of its files below `/proc/PID`: its user cannot read its `environ`, `maps` and `fd`.

use anyhow::Context;
use nix::sys::{
    prctl::set_dumpable,
    resource::{Resource, getrlimit, setrlimit},
};

/// Limit on the size of a core, in octets. No core is that small. Unlike 0 it also keeps the kernel from piping one to a
/// program (`core_pattern`), for which other limits do not count (`fs/coredump.c`).
const NO_CORE: u64 = 1;

/// For a process that holds keys: leaves no core, and is not read by other processes of its user. Call it before a key
/// is read.
pub(crate) fn closed() -> anyhow::Result<()> {
    set_dumpable(false).context("close the memory to other processes")?;
    without_cores()
}

/// For a process whose children hold keys: leaves no core, and neither do its children.
pub(crate) fn without_cores() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_CORE).context("look how large a core may be")?;
    let limit = NO_CORE.min(most);
    setrlimit(Resource::RLIMIT_CORE, limit, limit).context("leave no core")
}
