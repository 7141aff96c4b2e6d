//! The director's state besides deployments: releases, stemcells, and values of variables.
//!
//! It lives as long as the director. Only archives of packages are on disk.

mod certificate;
mod release_rows;
mod releases;
mod same_version;
mod stemcells;
mod stored;
mod variables;
mod version;

use std::path::PathBuf;

pub(crate) use self::{
    releases::{Admitted, ReleaseStore, Upload, read_upload},
    stemcells::{Stemcell, StemcellStore},
    variables::{VariableSpec, Variables},
};

/// All stores of a director.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) releases: ReleaseStore,
    pub(crate) stemcells: StemcellStore,
    pub(crate) variables: Variables,
}

impl Stores {
    /// Empty stores. `folder` is for the archives of packages; `director` is the prefix of relative names of variables.
    pub(crate) fn new(folder: PathBuf, director: &str) -> Self {
        Self {
            releases: ReleaseStore::new(folder),
            stemcells: StemcellStore::default(),
            variables: Variables::new(director),
        }
    }
}
