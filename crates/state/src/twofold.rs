//! A state file and its copy: how both are written, and which of them is read.
//!
//! ```text
//!   part, part ──> written ──> flushed ──> NAME, NAME.copy ──> directory flushed ──> acknowledged
//! ```
//!
//! A power cut leaves each of the two with the old or the new content. Once a write is acknowledged both have the new
//! one, so a flipped byte in either loses nothing: an older state could give an address to two services.

use std::{
    error::Error,
    ffi::OsString,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use err_report::Report;
use tracing::{info, warn};

use crate::{
    error::{ReadError, StateFileError, failed},
    medium::Medium,
};

/// What a file holds.
pub(crate) struct Found<T> {
    /// What its content means.
    pub(crate) value: T,
    /// The content, when file and copy are to be written again because they are not the same.
    pub(crate) mend: Option<Vec<u8>>,
    /// Why the file itself is not used, when the copy was read.
    pub(crate) damage: Option<String>,
}

/// Where the copy of a file is.
pub(crate) fn copy_of(path: &Path) -> PathBuf {
    beside(path, ".copy")
}

/// A file whose name is that of another one with this at its end.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Replaces the content of a file and of its copy.
pub(crate) fn write(medium: &impl Medium, path: &Path, content: &[u8]) -> Result<(), StateFileError> {
    let directory = directory_of(path);
    make_directory(medium, directory).map_err(failed("create directory", directory))?;
    let written = || {
        let mut part = medium.begin(directory).map_err(failed("create a file in", directory))?;
        medium.write(&mut part, content).and_then(|()| medium.flush(&part)).map_err(failed("write", path))?;
        Ok(part)
    };
    // A disk without room for both keeps the old content of both.
    let (file, copy) = (written()?, written()?);
    medium.rename(file, path).map_err(failed("replace", path))?;
    medium.rename(copy, &copy_of(path)).map_err(failed("replace the copy of", path))?;
    medium.flush_directory(directory).map_err(failed("flush directory", directory))
}

/// Reads a file, or its copy when the file is damaged. A file that is missing has no copy: an operator who moves it away
/// wants a new one.
pub(crate) fn read<T, E: Error + 'static>(
    medium: &impl Medium,
    path: &Path,
    decode: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<Found<T>>, ReadError<E>> {
    let sound = |content: io::Result<Vec<u8>>| -> Result<_, ReadError<E>> {
        let content = content.map_err(failed("read", path))?;
        Ok((decode(&content).map_err(ReadError::Refused)?, content))
    };
    let file = medium.read(path);
    if file.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let copy = medium.read(&copy_of(path));
    let alike = matches!((&file, &copy), (Ok(file), Ok(copy)) if file == copy);
    let ((value, content), damage) = match sound(file) {
        Ok(found) => (found, None),
        Err(error) if alike => return Err(error),
        Err(error) => {
            let Ok(found) = sound(copy) else { return Err(error) };
            (found, Some(Report::new(&error).to_string()))
        }
    };
    Ok(Some(Found { value, mend: (!alike).then_some(content), damage }))
}

/// Makes a file and its copy the same again. A disk that refuses costs nothing before the other one is damaged, too.
pub(crate) fn mend(medium: &impl Medium, path: &Path, content: &[u8]) {
    match write(medium, path, content) {
        Ok(()) => info!(path = %path.display(), "the file and its copy are the same now"),
        Err(error) => {
            let error = Report::new(&error).to_string();
            warn!(path = %path.display(), error, "the file and its copy are not the same");
        }
    }
}

/// Makes a directory with those above it. A power cut that takes it would take the files in it.
fn make_directory(medium: &impl Medium, directory: &Path) -> io::Result<()> {
    if medium.has_directory(directory) {
        return Ok(());
    }
    let above = directory_of(directory);
    make_directory(medium, above)?;
    let made = medium.make_directory(directory).and_then(|()| medium.flush_directory(above));
    if made.is_err() {
        // The next attempt would find it and not flush its name.
        let _ = medium.remove_directory(directory);
    }
    made
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
#[path = "twofold_tests.rs"]
mod tests;
