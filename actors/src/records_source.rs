//! Reads `records.json` of this VM whenever it has changed. The BOSH agent replaces the file by rename.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use boshy_records::RecordsError;
use err_report::Report;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::warn;

use crate::folder_watch::{FolderChanges, FolderWatch};

/// How often the file's state is asked for, which costs some microseconds, beside the kernel's word: that follows a
/// directory, which may be missing at the start, be mounted over or hang (ADR 39).
pub(crate) const PERIOD: Duration = Duration::from_millis(250);
/// Time for one read. A hung disk costs no more than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// The file of a director with 100,000 instances has 25 MB.
const MAX_BYTES: u64 = 128 << 20;

/// The file, and how it is parsed.
pub(crate) struct RecordsSource<T> {
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, RecordsError>,
    /// The watch of those looks that were asked for last.
    folder: Mutex<Option<FolderWatch>>,
    seen: Mutex<Seen<T>>,
}

/// Tells when to look at the file.
pub(crate) struct Looks {
    periods: Interval,
    changes: FolderChanges,
}

impl Looks {
    /// Waits until the kernel tells of a change, one [`PERIOD`] at most. The first time is now.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.periods.tick() => {}
            () = self.changes.next() => {}
        }
    }
}

struct Seen<T> {
    version: Option<FileVersion>,
    /// What was read and is not taken yet.
    read: Option<T>,
}

/// Changes with the file and with its content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileVersion(u64, i64, i64, u64);

/// Why the file could not be read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl<T: Send + 'static> RecordsSource<T> {
    pub(crate) fn new(path: PathBuf, parse: fn(&[u8]) -> Result<T, RecordsError>) -> Arc<Self> {
        Arc::new(Self { path, parse, folder: Mutex::default(), seen: Mutex::new(Seen { version: None, read: None }) })
    }

    /// The times to look, for one task. Only within a runtime of tokio.
    pub(crate) fn looks(&self) -> Looks {
        let mut periods = interval(PERIOD);
        periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (folder, changes) = FolderWatch::start();
        *self.folder() = folder;
        Looks { periods, changes }
    }

    /// The content, when the file has changed since the last call and can be parsed. Nothing when it cannot be read in
    /// time: a read that takes longer is the answer to a later call.
    pub(crate) async fn newer(self: &Arc<Self>) -> Option<T> {
        let this = Arc::clone(self);
        if let Some(look) = boshy_state::disk::work_unless_busy(&self.path, move || this.look()) {
            // A panic is logged where it happens.
            let _ = timeout(PATIENCE, look).await;
        }
        self.with_seen(|seen| seen.read.take())
    }

    fn look(&self) {
        // A change after this call is told, and one before it is seen now.
        self.follow_folder();
        let version = match fs::metadata(&self.path) {
            Ok(data) => FileVersion(data.ino(), data.mtime(), data.mtime_nsec(), data.size()),
            Err(_) => return,
        };
        if self.with_seen(|seen| seen.version) == Some(version) {
            return;
        }
        let read = self.read();
        self.with_seen(|seen| seen.version = Some(version));
        match read {
            Ok(read) => self.with_seen(|seen| seen.read = Some(read)),
            Err(error) => {
                let error = Report::new(&error).to_string();
                warn!(file = %self.path.display(), error, "what was read before stays");
            }
        }
    }

    /// A folder that is missing is followed at a later look.
    fn follow_folder(&self) {
        let watch = self.folder().clone();
        let _ = watch.zip(self.path.parent()).map(|(watch, folder)| watch.follow(folder));
    }

    fn folder(&self) -> MutexGuard<'_, Option<FolderWatch>> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<T, LookError> {
        Ok((self.parse)(&boshy_state::read_regular(&self.path, MAX_BYTES)?)?)
    }

    fn with_seen<R>(&self, act: impl FnOnce(&mut Seen<T>) -> R) -> R {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use boshy_records::Records;

    use super::*;

    fn text(ids: &[&str]) -> String {
        let rows: Vec<_> = ids.iter().map(|id| format!(r#"["{id}","10.0.0.1"]"#)).collect();
        format!(r#"{{"version":1,"record_keys":["id","ip"],"record_infos":[{}]}}"#, rows.join(","))
    }

    async fn ids(source: &Arc<RecordsSource<Records>>) -> Option<Vec<String>> {
        source.newer().await.map(|records| records.rows.into_iter().map(|row| row.id).collect())
    }

    #[actix::test]
    async fn only_a_file_that_can_be_parsed_is_told_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("dns/records.json"), folder.path().join("next"));
        let source = RecordsSource::new(path.clone(), Records::read);
        assert_eq!(ids(&source).await, None, "not even its folder is there");
        fs::create_dir(folder.path().join("dns")).unwrap();
        let replaced_by = |text: &str| {
            fs::write(&next, text).unwrap();
            fs::rename(&next, &path).unwrap();
        };
        replaced_by(&text(&["a"]));
        assert_eq!(ids(&source).await.unwrap(), ["a"]);
        assert_eq!(ids(&source).await, None, "nothing has changed");
        let whole = text(&["a", "b"]);
        for part in ["", "{", &whole[..whole.len() - 2]] {
            replaced_by(part);
            assert_eq!(ids(&source).await, None, "{part:?}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(ids(&source).await, None);
        fs::create_dir(&path).unwrap();
        assert_eq!(ids(&source).await, None);
        fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(ids(&source).await, None);
        replaced_by(&whole);
        assert_eq!(ids(&source).await.unwrap(), ["a", "b"]);
        fs::write(&path, text(&["c"])).unwrap();
        assert_eq!(ids(&source).await.unwrap(), ["c"], "written in place");
    }

    #[actix::test]
    async fn the_kernel_tells_when_to_look_and_the_next_look_is_soon_without_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("dns/records.json");
        let source = RecordsSource::new(path.clone(), Records::read);
        let mut looks = source.looks();
        looks.next().await;
        fs::create_dir(place.path().join("dns")).unwrap();
        assert_eq!(ids(&source).await, None);
        // From here on only the kernel wakes it.
        looks.periods.reset_after(Duration::from_secs(3600));
        for id in ["a", "b"] {
            fs::write(place.path().join("next"), text(&[id])).unwrap();
            fs::rename(place.path().join("next"), &path).unwrap();
            looks.next().await;
            assert_eq!(ids(&source).await.unwrap(), [id]);
        }
        looks.periods.reset();
        looks.next().await;
    }

    #[actix::test]
    async fn a_disk_that_hangs_costs_a_look_nothing_and_is_read_when_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.json");
        let source = RecordsSource::new(path.clone(), Records::read);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hangs = boshy_state::disk::work_unless_busy(&path, move || held.recv()).unwrap();
        fs::write(&path, text(&["a"])).unwrap();
        assert_eq!(ids(&source).await, None);
        drop(release);
        let _ = hangs.await.unwrap();
        assert_eq!(ids(&source).await.unwrap(), ["a"]);
    }
}
