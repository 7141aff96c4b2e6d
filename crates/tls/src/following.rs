//! TLS configurations that follow their files.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use err_report::Report;
use rustls::{ClientConfig, ServerConfig};

use crate::{ClientFiles, FileError, ServerFiles, read};

/// A server's TLS configuration, for new connections.
pub type ServerTls = Following<ServerConfig>;

type Read<C> = Box<dyn Fn() -> Result<C, FileError> + Send + Sync>;

/// A configuration that follows its files. Clones share the same state.
pub struct Following<C>(Arc<Inner<C>>);

struct Inner<C> {
    files: Vec<PathBuf>,
    read: Read<C>,
    /// Locked once for each connection, for as long as it takes to stat the files.
    last: Mutex<Last<C>>,
}

struct Last<C> {
    /// State of the files when they were last read, whether or not they were usable. `None` after a failure that says
    /// nothing about the files: the next connection reads them again.
    seen: Option<Vec<Stamp>>,
    /// The failure that was logged last, so that it is logged once.
    told: Option<String>,
    config: Arc<C>,
}

/// Changes whenever the file changes: device, inode, size, and change time in nanoseconds. `None` for a missing file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Following<ServerConfig> {
    /// Reads the files for the first time. `protocols` are the ALPN protocols (RFC 7301), in order of preference.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn open(files: ServerFiles, protocols: &'static [&'static [u8]]) -> Result<Self, FileError> {
        let names = [&files.certificate, &files.private_key].into_iter().chain(&files.client_ca).cloned().collect();
        Self::begin(names, Box::new(move || read::server(&files, protocols)))
    }
}

impl Following<ClientConfig> {
    pub(crate) fn open(files: ClientFiles, protocols: &'static [&'static [u8]]) -> Result<Self, FileError> {
        let names = vec![files.ca.clone(), files.certificate.clone(), files.private_key.clone()];
        Self::begin(names, Box::new(move || read::client(&files, protocols)))
    }
}

impl<C> Following<C> {
    fn begin(files: Vec<PathBuf>, read: Read<C>) -> Result<Self, FileError> {
        let seen = stamps(&files);
        let config = Arc::new(read()?);
        Ok(Self(Arc::new(Inner { files, read, last: Mutex::new(Last { seen: Some(seen), told: None, config }) })))
    }

    /// The configuration for a new connection.
    pub fn current(&self) -> Arc<C> {
        let inner = &self.0;
        // The value is usable after a panic: each update is a single assignment that leaves it consistent.
        let mut last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before the files are read, so that a change in between is noticed the next time.
        let seen = stamps(&inner.files);
        if last.seen.as_ref() != Some(&seen) {
            let certificate = inner.files.first().map(|file| file.display().to_string());
            match (inner.read)() {
                Ok(config) => {
                    tracing::info!(certificate, "certificate files were read again");
                    *last = Last { seen: Some(seen), told: None, config: Arc::new(config) };
                }
                Err(error) => {
                    last.seen = (!error.is_passing()).then_some(seen);
                    let text = Report::new(&error).to_string();
                    if last.told.as_ref() != Some(&text) {
                        tracing::warn!(error = text, "certificate files changed and cannot be used; the old ones stay");
                        last.told = Some(text);
                    }
                }
            }
        }
        Arc::clone(&last.config)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let about = fs::metadata(file).ok()?;
    Some((about.dev(), about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
}

impl<C> Clone for Following<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Following<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Following").field(&self.0.files).finish()
    }
}
