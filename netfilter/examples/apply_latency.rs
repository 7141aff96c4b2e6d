//! Measures four times: to write and read back the rules with 5,000 pairs; to add one pair to them; and to check them
//! when nothing has changed, and when rules of other software have changed. Prints one JSON line, in milliseconds
//! (medians):
//!
//! ```text
//! {"pairs":5000,"apply_ms_median":9.1,"one_more_ms_median":0.4,"look_ms_median":0.003,"read_ms_median":3.2}
//! ```
//!
//! Runs in a network namespace of its own, so it affects no rules of the machine, and it needs no privileges. The
//! argument is the number of runs.

use std::{env, error::Error, fs, io::Write, net::SocketAddrV4, sync::Arc, time::Instant};

use boshy_netfilter::{Guard, Ownership, Pairs, Redirect};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

const RUNS: usize = 50;
const PAIRS: u32 = 5000;

fn main() -> Result<(), Box<dyn Error>> {
    let runs = env::args().nth(1).map_or(Ok(RUNS), |runs| runs.parse())?;
    own_namespaces()?;
    let [apply, one_more, look, read] = measure(runs.max(1))?;
    writeln!(
        std::io::stdout(),
        r#"{{"pairs":{PAIRS},"apply_ms_median":{apply:.3},"one_more_ms_median":{one_more:.3},"look_ms_median":{look:.4},"read_ms_median":{read:.3}}}"#
    )?;
    Ok(())
}

/// Enters a network namespace. Without root, the process first becomes root in a user namespace.
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

fn pairs(count: u32) -> Arc<Pairs> {
    let pair = |number: u32| SocketAddrV4::new((0x0a60_0000 + number).into(), 9002);
    Arc::new((0..count).map(pair).collect())
}

fn measure(runs: usize) -> Result<[f64; 4], Box<dyn Error>> {
    let redirect = Redirect::new("10.96.0.0/12".parse()?, 15001)?;
    let (most, one_more) = (pairs(PAIRS), pairs(PAIRS + 1));
    let mut times: [Vec<_>; 4] = Default::default();
    let mut timed = |place: usize, act: &mut dyn FnMut() -> Result<(), Box<dyn Error>>| {
        let begun = Instant::now();
        act()?;
        times[place].push(begun.elapsed());
        Ok::<_, Box<dyn Error>>(())
    };
    for _ in 0..runs {
        let mut guard = Guard::open(Ownership::WherePossible)?;
        timed(0, &mut || Ok(guard.keep(&redirect.ruleset(&most)).map(drop)?))?;
        timed(1, &mut || Ok(guard.keep(&redirect.ruleset(&one_more)).map(drop)?))?;
        timed(2, &mut || Ok(guard.keep(&redirect.ruleset(&one_more)).map(drop)?))?;
        timed(3, &mut || Ok(guard.present().map(drop)?))?;
        guard.remove()?;
    }
    Ok(times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    }))
}
