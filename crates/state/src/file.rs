//! Files that survive a crash at any moment.
//!
//! A state file is written beside its final name, flushed to the disk and renamed over the old one.

use std::{
    fs::{self, DirEntry, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::libc;
use tracing::{info, warn};

use crate::disk;

/// A write that takes longer is logged, because other work waits for it.
const SLOW: Duration = Duration::from_secs(1);

/// Prefix of a file that is not completely written.
const PART: &str = ".state-";

/// No state file of boshy comes near this size, and a larger file must not fill the memory.
const MAX_SIZE: u64 = 256 << 20;

/// A state file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct StateFileError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StateFileError + 'a {
    move |source| StateFileError { operation, path: path.to_owned(), source }
}

/// Replaces the file's content, which is created on the writing thread. The file is readable by its owner only.
///
/// # Errors
/// When the directory or the file cannot be written; the old content then remains.
pub async fn replace<C: AsRef<[u8]>>(
    path: &Path,
    content: impl FnOnce() -> C + Send + 'static,
) -> Result<(), StateFileError> {
    disk::work(path, writing(path, content)).await.map_err(failed("write", path))?
}

/// Like [`replace`], within [`disk::PATIENCE`].
///
/// # Errors
/// Like [`replace`]; also when the disk hangs. The content may then be written later, but not after a newer one.
pub async fn replace_in_time<C: AsRef<[u8]>>(
    path: &Path,
    content: impl FnOnce() -> C + Send + 'static,
) -> Result<(), StateFileError> {
    disk::in_time(path, disk::PATIENCE, writing(path, content)).await.map_err(failed("write", path))?
}

fn writing<C: AsRef<[u8]>>(
    path: &Path,
    content: impl FnOnce() -> C + Send + 'static,
) -> impl FnOnce() -> Result<(), StateFileError> + Send + 'static {
    let path = path.to_owned();
    move || write(&path, content().as_ref())
}

/// Removes the incomplete files of an earlier process. Call it before this process writes in the directory.
pub async fn sweep(directory: &Path) {
    let swept = directory.to_owned();
    let sweep = move || {
        let entries = fs::read_dir(&swept).map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        let is_part = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with(PART);
        for part in entries.into_iter().flatten().filter(is_part) {
            match fs::remove_file(part.path()) {
                Ok(()) => info!(path = %part.path().display(), "removed what was not written to the end"),
                Err(error) => warn!(path = %part.path().display(), %error, "what was not written to the end stays"),
            }
        }
    };
    if let Err(error) = disk::in_time(directory, disk::PATIENCE, sweep).await {
        warn!(path = %directory.display(), %error, "what was not written to the end stays");
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), StateFileError> {
    let begun = Instant::now();
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(directory).map_err(failed("create directory", directory))?;
    let mut file =
        tempfile::Builder::new().prefix(PART).tempfile_in(directory).map_err(failed("create a file in", directory))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(failed("write", path))?;
    file.persist(path).map_err(|error| failed("replace", path)(error.error))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("flush directory", directory))?;
    let seconds = begun.elapsed().as_secs_f64();
    if seconds > SLOW.as_secs_f64() {
        warn!(path = %path.display(), seconds, "the disk is slow");
    }
    Ok(())
}

/// Reads the file; `None` when it is missing. It never waits for another process, and never reads more than the size
/// limit of a state file.
///
/// # Errors
/// When the disk hangs; see also [`read_regular`].
pub async fn read(path: &Path) -> Result<Option<Vec<u8>>, StateFileError> {
    let file = path.to_owned();
    match disk::in_time(path, disk::PATIENCE, move || read_regular(&file, MAX_SIZE)).await.flatten() {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Reads a regular file on the calling thread, or the one that a symbolic link leads to. It does not wait for a writer.
///
/// # Errors
/// When the file is missing or cannot be read; also for a FIFO, a socket, a device, a directory, a loop of links, or a
/// file of more than `limit` octets.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Checked by name first, because opening a socket fails without a useful error, and opening a device may have an
    // effect.
    must_be_regular(&fs::metadata(path)?)?;
    // The opened file is checked again. Opening does not block on a FIFO without a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    must_be_regular(&metadata)?;
    let mut content = Vec::new();
    if metadata.len() <= limit {
        file.take(limit + 1).read_to_end(&mut content)?;
    }
    if metadata.len().max(content.len() as u64) > limit {
        return Err(io::Error::other(format!("is larger than {limit} octets")));
    }
    Ok(content)
}

/// Refuses anything but a regular file.
///
/// # Errors
/// One that names the kind of the file, such as a FIFO.
pub fn must_be_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = metadata.file_type();
    let kinds = [
        (kind.is_dir(), "a directory"),
        (kind.is_fifo(), "a FIFO"),
        (kind.is_socket(), "a socket"),
        (kind.is_char_device(), "a character device"),
        (kind.is_block_device(), "a block device"),
    ];
    let what = kinds.into_iter().find(|(is, _)| *is).map_or("something else", |(_, what)| what);
    Err(io::Error::new(ErrorKind::InvalidInput, format!("is {what} where a regular file should be")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    /// The error of a read, with its cause.
    async fn refusal(path: &Path) -> String {
        err_report::Report::new(&read(path).await.unwrap_err()).to_string()
    }

    #[tokio::test]
    async fn what_is_no_regular_file_is_refused_at_once_by_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink(at("fifo"), at("to_fifo")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        for (name, what) in [
            ("fifo", "is a FIFO"),
            ("to_fifo", "is a FIFO"),
            ("socket", "is a socket"),
            ("directory", "is a directory"),
            ("zero", "is a character device"),
            ("loop", "Too many levels of symbolic links"),
        ] {
            let refusal = refusal(&at(name)).await;
            assert!(refusal.contains(what) && refusal.contains(name), "{refusal}");
        }
    }

    #[tokio::test]
    async fn a_link_to_a_file_is_followed_and_one_to_nothing_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        symlink(dir.path().join("file"), dir.path().join("link")).unwrap();
        symlink(dir.path().join("nothing"), dir.path().join("dangling")).unwrap();
        assert_eq!(read(&dir.path().join("link")).await.unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(read(&dir.path().join("dangling")).await.unwrap(), None);
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_without_being_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(read_regular(&path, 1000).unwrap_err().to_string().contains("larger than 1000 octets"));
    }

    #[tokio::test]
    async fn a_replaced_file_holds_the_new_content_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/state");
        assert_eq!(read(&path).await.unwrap(), None);
        replace(&path, || b"one").await.unwrap();
        replace_in_time(&path, || b"two").await.unwrap();
        assert_eq!(read(&path).await.unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_a_kill_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in [".state-Ab3", ".state-", "leases", "lock", ".bosh"] {
            fs::write(at(name), "x").unwrap();
        }
        // boshy never creates a directory there; it is reported and stays.
        fs::create_dir(at(".state-directory")).unwrap();
        sweep(dir.path()).await;
        sweep(&at("nowhere")).await;
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, [".bosh", ".state-directory", "leases", "lock"]);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = replace(&dir.path().join("file/state"), || b"x").await.unwrap_err();
        assert!(error.to_string().starts_with("create directory "), "{error}");
    }
}
