//! Paths within archives and jobs.

use std::path::{Component, Path, PathBuf};

/// A path without a leading `./`; `None` when it leads out of its base folder.
pub(super) fn inner_path(path: &Path) -> Option<PathBuf> {
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => inner.push(name),
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inner)
}
