//! The steps by which files are written and read.
//!
//! [`Disk`] takes them on the real file system. The tests take them on one whose every step may fail, may be the last
//! before a power cut, and may be forgotten in one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::libc;
use tempfile::NamedTempFile;

use crate::regular::{MAX_SIZE, must_be_regular, read_regular};

/// Prefix of the name of a file that is not completely written.
pub(crate) const PART: &str = ".state-";

/// A file system. Nothing of what was done is on its disk before it is flushed.
pub(crate) trait Medium {
    /// A file that is being written, under a name that nobody reads. Dropping it removes it.
    type Part;

    /// Whether there is a directory of this name.
    fn has_directory(&self, directory: &Path) -> bool;
    /// Makes a directory in one that exists; one that another process has just made is as good.
    fn make_directory(&self, directory: &Path) -> io::Result<()>;
    /// Removes a directory that is empty.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;
    /// Begins a file, which only its owner can read.
    fn begin(&self, directory: &Path) -> io::Result<Self::Part>;
    /// Writes content at the end of a file.
    fn write(&self, part: &mut Self::Part, content: &[u8]) -> io::Result<()>;
    /// Flushes the content of a file.
    fn flush(&self, part: &Self::Part) -> io::Result<()>;
    /// Gives a file its name, in place of the one that had it.
    fn rename(&self, part: Self::Part, path: &Path) -> io::Result<()>;
    /// Flushes the names in a directory.
    fn flush_directory(&self, directory: &Path) -> io::Result<()>;
    /// Cuts a file, which only its owner can read, to a length, writes content at its end, and flushes it. A file that
    /// is missing is made.
    fn append(&self, path: &Path, length: u64, content: &[u8]) -> io::Result<()>;
    /// Content of a regular file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The real file system.
pub(crate) struct Disk;

impl Medium for Disk {
    type Part = NamedTempFile;

    fn has_directory(&self, directory: &Path) -> bool {
        directory.is_dir()
    }

    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir(directory).or_else(|error| if directory.is_dir() { Ok(()) } else { Err(error) })
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir(directory)
    }

    fn begin(&self, directory: &Path) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(PART).tempfile_in(directory)
    }

    fn write(&self, part: &mut NamedTempFile, content: &[u8]) -> io::Result<()> {
        part.write_all(content)
    }

    fn flush(&self, part: &NamedTempFile) -> io::Result<()> {
        part.as_file().sync_all()
    }

    fn rename(&self, part: NamedTempFile, path: &Path) -> io::Result<()> {
        part.persist(path).map(drop).map_err(|error| error.error)
    }

    fn flush_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn append(&self, path: &Path, length: u64, content: &[u8]) -> io::Result<()> {
        let opened = OpenOptions::new().write(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK).open(path);
        let mut file = opened?;
        must_be_regular(&file.metadata()?)?;
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(content)?;
        file.sync_data()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_regular(path, MAX_SIZE)
    }
}
