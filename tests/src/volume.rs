//! A file system for a single test, which refuses writes on demand.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::apart::has_own_mounts;

/// Why a disk refuses writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No block is left.
    Full,
    /// No inode is left.
    NoInode,
    /// The kernel has made it read-only, as after a disk error.
    ReadOnly,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Full, Self::NoInode, Self::ReadOnly];

    /// The system's error text.
    pub fn words(self) -> &'static str {
        match self {
            Self::Full | Self::NoInode => "No space left on device",
            Self::ReadOnly => "Read-only file system",
        }
    }
}

/// A mounted file system of a megabyte and 64 inodes.
pub struct Volume(TempDir);

impl Volume {
    /// An empty volume. Only for [`with_own_mounts`](crate::with_own_mounts).
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn new() -> Self {
        assert!(has_own_mounts(), "this would be a mount for all processes");
        let folder = TempDir::new().unwrap();
        let size = Some("size=1m,nr_inodes=64");
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), size).unwrap();
        Self(folder)
    }

    /// A path for a state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Refuses writes from now on.
    ///
    /// # Panics
    /// When writes still succeed.
    pub fn refuses(&self, how: Refusal) {
        let path = self.0.path();
        match how {
            Refusal::Full => assert_is_full(fs::write(path.join("filling"), vec![0; 2 << 20])),
            Refusal::NoInode => {
                fs::create_dir(path.join("fillings")).unwrap();
                let filled = (0..64).try_for_each(|number| fs::write(path.join(format!("fillings/{number}")), ""));
                assert_is_full(filled);
            }
            // Files that are open for writing prevent a read-only remount. So the file system is mounted over itself,
            // read-only.
            Refusal::ReadOnly => {
                let none = None::<&str>;
                let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(Some(path), path, none, MsFlags::MS_BIND, none).unwrap();
                mount(none, path, none, read_only, none).unwrap();
            }
        }
    }

    /// Accepts writes again.
    ///
    /// # Panics
    /// When it did not refuse them for this reason.
    pub fn takes_again(&self, how: Refusal) {
        let path = self.0.path();
        match how {
            Refusal::Full => fs::remove_file(path.join("filling")).unwrap(),
            Refusal::NoInode => fs::remove_dir_all(path.join("fillings")).unwrap(),
            Refusal::ReadOnly => umount2(path, MntFlags::empty()).unwrap(),
        }
    }

    /// Files other than those given.
    ///
    /// # Panics
    /// When the directory cannot be read.
    pub fn litter(&self, meant: &[&str]) -> Vec<String> {
        let names = fs::read_dir(self.state_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| !meant.contains(&name.as_str())).collect()
    }
}

impl Default for Volume {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // It ends with the process at the latest.
        let _ = umount2(AsRef::<Path>::as_ref(&self.0), MntFlags::MNT_DETACH);
    }
}

fn assert_is_full(written: io::Result<()>) {
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
}
