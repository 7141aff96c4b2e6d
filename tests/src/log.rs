//! The log of one role, separate from the logs of others in the same process.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing::{
    dispatcher::{self, DefaultGuard},
    level_filters::LevelFilter,
};

static EVERYTHING: OnceLock<Log> = OnceLock::new();

/// Captures what all threads of this process log, at every level, also by libraries. Returns a reader of it. Roles that
/// start later have no log of their own.
///
/// # Panics
/// When something else captures all logs already.
pub fn log_everything() -> impl Fn() -> String {
    let log = EVERYTHING.get_or_init(Log::default);
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    lines.with_writer(|| log.clone()).try_init().unwrap();
    || log.text()
}

/// The log of one role; clones share it. It does not contain the logs of actors on their own threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures what this thread logs from now on.
    pub(crate) fn capture(&self) -> DefaultGuard {
        if EVERYTHING.get().is_some() {
            return dispatcher::set_default(&dispatcher::get_default(Clone::clone));
        }
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_ansi(false);
        tracing::subscriber::set_default(lines.with_writer(move || log.clone()).finish())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
