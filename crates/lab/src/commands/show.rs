//! Output for people: progress on stderr, results on stdout.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    error::{Doing, LabError},
    protocol::Progress,
};

/// Prints a line of the result. A reader that closes the pipe early (`| head`) is not an error.
pub(super) fn line(text: &str) -> Result<(), LabError> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).doing(|| "writing the output".to_owned()),
        _ => Ok(()),
    }
}

/// A bar on a terminal, plain lines elsewhere.
pub(super) struct ProgressView {
    bar: Option<ProgressBar>,
}

impl ProgressView {
    pub(super) fn new() -> Self {
        Self { bar: io::stderr().is_terminal().then(bar) }
    }

    pub(super) fn show(&self, progress: Progress) {
        match (progress, &self.bar) {
            (Progress::Said(text), Some(bar)) => bar.println(text),
            (Progress::Said(text), None) => note(&text),
            (Progress::Waiting { ready, of, missing, .. }, Some(bar)) => {
                bar.set_length(of as u64);
                bar.set_position(ready as u64);
                bar.set_message(missing.unwrap_or_default());
            }
            (Progress::Waiting { what, ready, of, missing }, None) => {
                let missing = missing.map(|missing| format!("; {missing}")).unwrap_or_default();
                note(&format!("{ready} of {of} {what}{missing}"));
            }
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    // The template is a constant, so a mistake in it would show in the first run.
    let style = ProgressStyle::with_template("{spinner} [{bar:30}] {pos}/{len} VMs ready  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Prints a note on stderr.
pub(super) fn note(text: &str) {
    // Progress that cannot be printed is no reason to stop.
    let _ = writeln!(io::stderr(), "{text}");
}
