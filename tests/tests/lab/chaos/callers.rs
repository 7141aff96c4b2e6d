//! A caller in each VM, started again whenever its VM has been rebooted or replaced.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use boshy_tests::chaos::{FLEET, Request, Target, Vm};

use crate::{driver::Lab, peers};

/// Pause before a caller that has ended is started again.
const PAUSE: Duration = Duration::from_millis(500);

/// Callers in all VMs of the fleet, until they are dropped.
pub(super) struct Callers {
    heard: Arc<Mutex<Vec<(Vm, Request)>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Callers {
    pub(super) fn start(lab: &Arc<Lab>) -> Self {
        let (heard, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let threads = FLEET.map(|vm| {
            let (lab, heard, over) = (Arc::clone(lab), Arc::clone(&heard), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    call(&lab, vm, &heard, &over);
                    thread::sleep(PAUSE);
                }
            })
        });
        Self { heard, over, threads: threads.into() }
    }

    /// The requests that have ended since the last time, of each VM in order.
    pub(super) fn take(&self) -> Vec<(Vm, Request)> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at those that will be taken next.
    pub(super) fn peek(&self, look: impl FnOnce(&[(Vm, Request)]) -> bool) -> bool {
        look(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Runs a caller until it ends, which it does with its VM, or until all is over.
fn call(lab: &Lab, vm: Vm, heard: &Mutex<Vec<(Vm, Request)>>, over: &AtomicBool) {
    let name = vm.to_string();
    // A VM that is just being rebooted takes no program.
    let Some(program) = peers::put(lab, &name, env!("CARGO_BIN_EXE_boshy-test-caller")) else { return };
    let targets = Target::ALL.map(|target| format!("{}:{}", target.host(), target.port));
    let command = ["exec", &name, "--", &program].into_iter().map(str::to_owned).chain(targets);
    let mut child = lab.command(command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        // The last line of a killed caller may not be whole.
        let Some(request) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
        heard.lock().unwrap_or_else(PoisonError::into_inner).push((vm, request));
    }
    ends(&mut child);
}

fn ends(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
