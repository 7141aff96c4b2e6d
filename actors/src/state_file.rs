//! Files that survive a crash at any moment.
//!
//! A state file is written beside its final name, flushed to the disk and renamed over the old one, so that a reader, and the
//! next start after a power cut, sees the old content or the new one and never a part. What the content means, and its
//! checksum, belong to who writes it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A write that takes longer is worth a line in the log: what waits for it, waits as long.
const SLOW: Duration = Duration::from_secs(1);

/// A state file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub(crate) struct StateFileError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StateFileError + 'a {
    move |source| StateFileError { operation, path: path.to_owned(), source }
}

/// Replaces the file's content. Readable by owner and group only.
///
/// # Errors
/// When the directory or the file cannot be written; the old content is then still there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), StateFileError> {
    let begun = Instant::now();
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(directory).map_err(failed("create directory", directory))?;
    let mut file = tempfile::Builder::new()
        .prefix(".state-")
        .tempfile_in(directory)
        .map_err(failed("create a file in", directory))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(failed("write", path))?;
    file.persist(path).map_err(|error| failed("replace", path)(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("flush directory", directory))?;
    let seconds = begun.elapsed().as_secs_f64();
    if seconds > SLOW.as_secs_f64() {
        tracing::warn!(path = %path.display(), seconds, "the disk is slow");
    }
    Ok(())
}

/// Reads the file, `None` when there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StateFileError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_holds_the_new_content_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/state");
        assert_eq!(read(&path).unwrap(), None);
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = replace(&dir.path().join("file/state"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("create directory "), "{error}");
    }
}
