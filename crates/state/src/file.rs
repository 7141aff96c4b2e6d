//! Files that survive a crash at any moment, and one damaged byte.
//!
//! A state file is written twice, each time beside its final name, flushed to the disk and renamed over the old one
//! (`twofold`).

use std::{
    error::Error,
    fs::{self, DirEntry},
    path::Path,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    disk,
    error::{ReadError, StateFileError, failed},
    medium::{Disk, PART},
    twofold::{self, Found},
};

/// A write that takes longer is logged, because other work waits for it.
const SLOW: Duration = Duration::from_secs(1);

/// Replaces the content of the file and of its copy, which is created on the writing thread. Both are readable by their
/// owner only.
///
/// # Errors
/// When the directory or a file cannot be written. The old content then remains, unless only the last flush failed.
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
    move || {
        let begun = Instant::now();
        twofold::write(&Disk, &path, content().as_ref())?;
        let seconds = begun.elapsed().as_secs_f64();
        if seconds > SLOW.as_secs_f64() {
            warn!(path = %path.display(), seconds, "the disk is slow");
        }
        Ok(())
    }
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

/// Reads the file, or its copy when the file is damaged; `None` when the file is missing. A file and a copy that are not
/// the same are then written again, for which the caller does not wait. It never waits for another process, and never
/// reads more than the size limit of a state file.
///
/// # Errors
/// When the disk hangs, or neither the file nor its copy can be read and decoded; see also [`read_regular`](crate::read_regular).
pub async fn read<T: Send + 'static, E: Error + Send + 'static>(
    path: &Path,
    decode: impl Fn(&[u8]) -> Result<T, E> + Send + 'static,
) -> Result<Option<T>, ReadError<E>> {
    let (file, mended) = (path.to_owned(), path.to_owned());
    let look = move || match twofold::read(&Disk, &file, decode) {
        Ok(Some(Found { value, mend, damage })) => (Ok(Some((value, damage))), mend),
        Ok(None) => (Ok(None), None),
        Err(error) => (Err(error), None),
    };
    let mend = move |content: Vec<u8>| twofold::mend(&Disk, &mended, &content);
    let found = disk::in_time_and_then(path, disk::PATIENCE, look, mend).await.map_err(failed("read", path))??;
    Ok(found.map(|(value, damage)| {
        if let Some(error) = damage {
            warn!(path = %path.display(), error, "the file is damaged; nothing is lost, because its copy is not");
        }
        value
    }))
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{
            fs::{PermissionsExt, symlink},
            net::UnixListener,
        },
        path::PathBuf,
    };

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    async fn text(path: &Path) -> Result<Option<String>, ReadError<std::str::Utf8Error>> {
        read(path, |content| std::str::from_utf8(content).map(str::to_owned)).await
    }

    /// The error of a read, with its cause.
    async fn refusal(path: &Path) -> String {
        err_report::Report::new(&text(path).await.unwrap_err()).to_string()
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
        assert_eq!(text(&dir.path().join("link")).await.unwrap().as_deref(), Some("x"));
        assert_eq!(text(&dir.path().join("dangling")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_replaced_file_holds_the_new_content_and_leaves_only_its_copy_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/deeper/state");
        assert_eq!(text(&path).await.unwrap(), None);
        replace(&path, || b"one").await.unwrap();
        replace_in_time(&path, || b"two").await.unwrap();
        assert_eq!(text(&path).await.unwrap().as_deref(), Some("two"));
        let kept = |path: PathBuf| (fs::read(&path).unwrap(), fs::metadata(path).unwrap().permissions().mode() & 0o777);
        assert_eq!(
            [kept(path.clone()), kept(twofold::copy_of(&path))],
            [(b"two".to_vec(), 0o600), (b"two".to_vec(), 0o600)]
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_file_and_a_copy_that_differ_are_mended_by_reading_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let copy = twofold::copy_of(&path);
        // As the version before left it.
        fs::write(&path, "one").unwrap();
        for damaged in [None, Some(&path), Some(&copy)] {
            if let Some(damaged) = damaged {
                fs::write(damaged, b"\xff").unwrap();
            }
            assert_eq!(text(&path).await.unwrap().as_deref(), Some("one"), "{damaged:?}");
            // The next work on the file begins when they are.
            disk::work(&path, || ()).await.unwrap();
            assert_eq!([&path, &copy].map(|file| fs::read(file).unwrap()), [b"one", b"one"], "{damaged:?}");
        }
        for file in [&path, &copy] {
            fs::write(file, b"\xff").unwrap();
        }
        assert!(text(&path).await.is_err());
        fs::remove_file(&path).unwrap();
        assert_eq!(text(&path).await.unwrap(), None, "it was moved away");
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
