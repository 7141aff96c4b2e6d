//! `boshy lab up`, and the waiting for readiness that other commands share with it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nix::sys::signal::{SigSet, Signal};

use super::{
    bring_up::Wanted,
    down,
    lab::{current, dir, unexpected},
    show,
    show::ProgressView,
};
use crate::{
    LabSettings, cli,
    client::Client,
    error::{Doing, LabError},
    keeper::KeeperSettings,
    launch,
    protocol::{Answer, Request},
    state_dir::StateDir,
};

/// Note on what does not come from a release.
const PLAYED: &str = "bpm, bosh-dns and the config server are played by the lab; every other job and package comes from an uploaded release";

/// Brings a lab up. Ctrl-C takes it down again. A lab that does not become ready is kept for inspection, unless it is
/// in the foreground.
pub(super) fn run(arguments: &cli::Up, lab: &LabSettings) -> Result<(), LabError> {
    let state = dir(&arguments.state)?;
    let wanted = if arguments.empty { None } else { Some(Wanted::new(arguments, lab)?) };
    let interrupts = block_interrupts()?;
    let find = |file: &PathBuf| file.canonicalize().doing(|| format!("finding {}", file.display()));
    let preload = arguments.preload.as_ref().map(find).transpose()?;
    launch::start_keeper(lab, &state, &KeeperSettings { uaa: arguments.uaa, preload })?;
    let held = arguments.foreground.then(|| Client::connect(&state)?.hold()).transpose()?;
    let interrupted = down_when_interrupted(state.clone(), interrupts);
    let up = match wanted {
        Some(wanted) => wanted.bring_up(&state).and_then(|()| ask(&state, &Request::Ready)),
        None => empty(&state),
    };
    show::note(PLAYED);
    interrupted.give_way();
    match held {
        Some(held) => {
            up?;
            show::note("Ctrl-C takes the lab down");
            held.until_keeper_ends();
            interrupted.give_way();
            Err(LabError::Refused(format!("the lab's keeper ended; see {}", state.keeper_log().display())))
        }
        None => up.map_err(|error| {
            LabError::Refused(format!(
                "{}\nThe lab is left as it is: look with `boshy lab status` and `boshy lab logs`, end it with `boshy lab down`",
                error.chain()
            ))
        }),
    }
}

fn empty(state: &StateDir) -> Result<(), LabError> {
    current(state)?.notes.iter().for_each(|text| show::note(text));
    show::line("the director is up; `eval \"$(boshy lab env)\"` points the BOSH CLI at it")
}

/// Sends a long-running request, shows its progress, and finally the lab's status.
pub(super) fn ask(state: &StateDir, request: &Request) -> Result<(), LabError> {
    let client = Client::connect(state)?;
    let view = ProgressView::new();
    let answer = client.ask(request, |progress| view.show(progress));
    view.finish();
    match answer? {
        Answer::Status(status) => {
            status.notes.iter().for_each(|text| show::note(text));
            show::line(&crate::table::render(&status))
        }
        Answer::Done => Ok(()),
        _ => Err(unexpected()),
    }
}

/// Blocks the signals with which a user ends a command, also for threads created from here on.
fn block_interrupts() -> Result<SigSet, LabError> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().doing(|| "blocking signals".to_owned())?;
    Ok(signals)
}

/// Whether the user has interrupted the command.
struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// If interrupted, leaves it to the thread that takes the lab down to end the process.
    fn give_way(&self) {
        while self.0.load(Ordering::Acquire) {
            thread::park();
        }
    }
}

fn down_when_interrupted(state: StateDir, signals: SigSet) -> Interrupted {
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    thread::spawn(move || {
        let Ok(signal) = signals.wait() else { return };
        told.store(true, Ordering::Release);
        let status = match down::run(&state) {
            Ok(()) => 128 + signal as i32,
            Err(error) => {
                show::note(&error.chain());
                1
            }
        };
        std::process::exit(status)
    });
    Interrupted(interrupted)
}
