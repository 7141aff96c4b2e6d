//! Configurations that follow their files.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use err_report::Report;
use rustls::{ClientConfig, ServerConfig};

use crate::{ClientFiles, FileError, ServerFiles, read};

/// A server's, for new connections.
pub type ServerTls = Following<ServerConfig>;
/// A client's, for new connections.
pub type ClientTls = Following<ClientConfig>;

type Read<C> = Box<dyn Fn() -> Result<C, FileError> + Send + Sync>;

/// A configuration that follows its files. Clones are one.
pub struct Following<C>(Arc<Inner<C>>);

struct Inner<C> {
    files: Vec<PathBuf>,
    read: Read<C>,
    /// Locked for as long as some files are looked at, once for a connection.
    last: Mutex<Last<C>>,
}

struct Last<C> {
    /// How the files were when they were read, whether or not they could be used. `None` after a failure that says nothing of
    /// the files: they are read again for the next connection.
    seen: Option<Vec<Stamp>>,
    /// What was told last of a failure, so that it is told once.
    told: Option<String>,
    config: Arc<C>,
}

/// What changes when a file does: device, inode, size, and the time of change to the nanosecond. `None` without a file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Following<ServerConfig> {
    /// Reads the files for the first time. `protocols` are those of ALPN (RFC 7301), in order of preference.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn open(files: ServerFiles, protocols: &'static [&'static [u8]]) -> Result<Self, FileError> {
        let names = [Some(&files.certificate), Some(&files.private_key), files.client_ca.as_ref()];
        let names = names.into_iter().flatten().cloned().collect();
        Self::begin(names, Box::new(move || read::server(&files, protocols)))
    }
}

impl Following<ClientConfig> {
    /// Reads the files for the first time. `protocols` are those of ALPN (RFC 7301), in order of preference.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn open(files: ClientFiles, protocols: &'static [&'static [u8]]) -> Result<Self, FileError> {
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

    /// What a new connection shall have.
    pub fn current(&self) -> Arc<C> {
        let inner = &self.0;
        // Whoever panicked left a whole value.
        let mut last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before the files are read, so that a change in between is seen next time.
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
