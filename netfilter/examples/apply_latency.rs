//! How long each backend takes to write and read back the rules, one JSON line each, in milliseconds (medians):
//!
//! ```text
//! {"backend":"netlink","apply_ms_median":0.21,"verify_ms_median":0.04}
//! ```
//!
//! Runs in a network namespace of its own, so it touches nothing; it needs no rights. Takes the number of runs as argument.

use std::{env, error::Error, fs, io::Write, time::Instant};

use boshy_netfilter::{Backend, Iptables, Netlink, Nft, Ownership, Ruleset, difference};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

const RUNS: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let runs = env::args().nth(1).map_or(Ok(RUNS), |runs| runs.parse())?;
    own_namespaces()?;
    let backends: [Box<dyn Backend>; 3] =
        [Box::new(Netlink::open(Ownership::WherePossible)?), Box::new(Nft::open()?), Box::new(Iptables::open()?)];
    for mut backend in backends {
        let (apply, verify) = measure(backend.as_mut(), runs.max(1))?;
        let kind = backend.kind();
        writeln!(
            std::io::stdout(),
            r#"{{"backend":"{kind}","apply_ms_median":{apply:.3},"verify_ms_median":{verify:.3}}}"#
        )?;
    }
    Ok(())
}

/// A network namespace; who is not root makes himself root in a user namespace first.
fn own_namespaces() -> Result<(), Box<dyn Error>> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        return Ok(unshare(CloneFlags::CLONE_NEWNET)?);
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    Ok(())
}

/// The medians of applying (writing and reading back) and of reading back alone.
fn measure(backend: &mut dyn Backend, runs: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let ruleset = Ruleset::new("169.254.255.0/24".parse()?, 15001, [])?;
    let desired = ruleset.table(backend.layout());
    backend.apply(&ruleset)?;
    let (mut apply, mut verify) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    for _ in 0..runs {
        let begun = Instant::now();
        backend.apply(&ruleset)?;
        apply.push(begun.elapsed());
        let begun = Instant::now();
        let wrong = difference(&desired, backend.read()?.as_ref());
        verify.push(begun.elapsed());
        if !wrong.is_empty() {
            return Err(format!("{}: {wrong:?}", backend.kind()).into());
        }
    }
    backend.remove()?;
    let median = |mut times: Vec<std::time::Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    };
    Ok((median(apply), median(verify)))
}
