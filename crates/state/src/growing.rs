//! A state file whose changes are written alone, because all of it is large.
//!
//! ```text
//!   NAME, NAME.copy                     all of it, as of every state file
//!   NAME.changes, NAME.changes.copy     what has changed since, one record after the other:
//!
//!     link (32) | length of the change (4, big endian) | change        link: SHA-256 of the link before, length and change
//! ```
//!
//! The link before the first record is the SHA-256 of the beginning of the whole file, where its checksum is. So a record
//! counts only after the very file and records that it was written for, and what a power cut leaves of a record does not
//! count. Each whole file has an edition of its own, so that no two are the same and no old record fits a newer file.
//!
//! A change is acknowledged once both files of records have it on the disk. Then a flipped bit in one of them costs
//! nothing. After a write that failed, and in a new process, all is written again.

use std::{
    error::Error,
    hash::{BuildHasher, RandomState},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tracing::warn;

use crate::{
    disk,
    error::{ReadError, StateFileError, failed},
    file::read,
    medium::{Disk, Medium},
    twofold,
};

/// Of a whole file, the part that the first record is linked to. A header is shorter.
const BEGINNING: usize = 128;
const LINK: usize = 32;
const HEAD: usize = LINK + 4;
/// Records have as much room as this part of the whole file, and at least as many octets.
const PART_OF_THE_WHOLE: u64 = 4;
const LEAST_ROOM: u64 = 64 << 10;

type Link = [u8; LINK];

/// See the module's documentation. It knows what this process has written.
#[derive(Debug, Default)]
pub struct Growing(Option<End>);

/// The end of the records.
#[derive(Clone, Copy, Debug)]
struct End {
    link: Link,
    length: u64,
    room: u64,
}

impl Growing {
    /// Whether a change of this number of octets can be appended. Otherwise all is to be replaced.
    pub fn has_room(&self, change: usize) -> bool {
        self.0.is_some_and(|end| end.length + (HEAD + change) as u64 <= end.room)
    }

    /// Replaces everything. The content has this edition in it.
    ///
    /// # Errors
    /// As [`replace`](crate::replace).
    pub async fn replace<C: AsRef<[u8]>>(
        &mut self,
        path: &Path,
        content: impl FnOnce(u64) -> C + Send + 'static,
    ) -> Result<(), StateFileError> {
        self.0 = None;
        let file = path.to_owned();
        let write = move || whole(&Disk, &file, content(RandomState::new().hash_one(())).as_ref());
        self.0 = Some(disk::work(path, write).await.map_err(failed("write", path))??);
        Ok(())
    }

    /// Appends a change, for which there is room.
    ///
    /// # Errors
    /// When nothing was replaced before, or a file cannot be written. A later start then finds the change or does not.
    pub async fn append(&mut self, path: &Path, change: Vec<u8>) -> Result<(), StateFileError> {
        let end = self.0.take().ok_or(ErrorKind::Unsupported.into()).map_err(failed("append to", path))?;
        let file = path.to_owned();
        let write = move || append(&Disk, &file, end, &change);
        self.0 = Some(disk::work(path, write).await.map_err(failed("append to", path))??);
        Ok(())
    }
}

/// Like [`read`](crate::read), with the changes since the whole file was written.
///
/// # Errors
/// As [`read`](crate::read).
pub async fn read_growing<T: Send + 'static, E: Error + Send + 'static>(
    path: &Path,
    decode: impl Fn(&[u8], Vec<Vec<u8>>) -> Result<T, E> + Send + 'static,
) -> Result<Option<T>, ReadError<E>> {
    let file = path.to_owned();
    read(path, move |content| decode(content, changes(&Disk, &file, content))).await
}

/// Whether there are changes beside a file, of this or an earlier edition of it. `false` also when nobody can say.
pub async fn has_changes(path: &Path) -> bool {
    let files = files_of(path);
    let look = move || files.iter().any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 0));
    disk::in_time(path, disk::PATIENCE, look).await.unwrap_or_default()
}

fn whole(medium: &impl Medium, path: &Path, content: &[u8]) -> Result<End, StateFileError> {
    twofold::write(medium, path, content)?;
    let room = LEAST_ROOM.max(content.len() as u64 / PART_OF_THE_WHOLE);
    Ok(End { link: first_link(content), length: 0, room })
}

fn append(medium: &impl Medium, path: &Path, end: End, change: &[u8]) -> Result<End, StateFileError> {
    let link = next_link(&end.link, change);
    let record = [&link[..], &length_of(change), change].concat();
    for file in files_of(path) {
        medium.append(&file, end.length, &record).map_err(failed("append to", &file))?;
    }
    if end.length == 0 {
        // The files may be new.
        medium.flush_directory(twofold::directory_of(path)).map_err(failed("flush the directory of", path))?;
    }
    Ok(End { link, length: end.length + record.len() as u64, ..end })
}

/// The changes since a whole file with this content.
fn changes(medium: &impl Medium, path: &Path, content: &[u8]) -> Vec<Vec<u8>> {
    let [records, copy] = files_of(path).map(|file| {
        let octets = medium.read(&file).unwrap_or_else(|error| {
            if error.kind() != ErrorKind::NotFound {
                warn!(path = %file.display(), %error, "what has changed since the state was written cannot be read here");
            }
            Vec::new()
        });
        linked(first_link(content), &octets)
    });
    // One begins with the other.
    if records.len() >= copy.len() { records } else { copy }
}

/// The changes in those records that are linked.
fn linked(mut link: Link, mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut changes = Vec::new();
    while let Some((change, rest)) = record(&link, octets) {
        link = next_link(&link, change);
        changes.push(change.to_vec());
        octets = rest;
    }
    changes
}

fn record<'o>(before: &Link, octets: &'o [u8]) -> Option<(&'o [u8], &'o [u8])> {
    let (link, rest) = octets.split_first_chunk::<LINK>()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (change, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    (*link == next_link(before, change)).then_some((change, rest))
}

fn first_link(content: &[u8]) -> Link {
    Sha256::digest(&content[..content.len().min(BEGINNING)]).into()
}

fn next_link(link: &Link, change: &[u8]) -> Link {
    Sha256::new().chain_update(link).chain_update(length_of(change)).chain_update(change).finalize().into()
}

fn length_of(change: &[u8]) -> [u8; 4] {
    u32::try_from(change.len()).expect("a change is smaller than its file").to_be_bytes()
}

fn files_of(path: &Path) -> [PathBuf; 2] {
    let records = twofold::beside(path, ".changes");
    let copy = twofold::copy_of(&records);
    [records, copy]
}

#[cfg(test)]
#[path = "growing_tests.rs"]
mod tests;
