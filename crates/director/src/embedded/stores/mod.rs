//! What a director keeps besides deployments: releases, stemcells, and the values of variables.
//!
//! All of it lives as long as the director; only archives of packages are on disk.

mod certificate;
mod release_rows;
mod releases;
mod same_version;
mod stemcells;
mod variables;
mod version;

use std::path::PathBuf;

pub(in crate::embedded) use self::{
    releases::{Admitted, ReleaseStore, Stored, Upload, read_upload},
    stemcells::{Stemcell, StemcellStore},
    variables::{VariableSpec, Variables},
};

/// All stores of a director.
#[derive(Debug)]
pub(in crate::embedded) struct Stores {
    pub(in crate::embedded) releases: ReleaseStore,
    pub(in crate::embedded) stemcells: StemcellStore,
    pub(in crate::embedded) variables: Variables,
}

impl Stores {
    /// Empty stores. `folder` takes the archives of packages; `director` is the name in front of relative names of variables.
    pub(in crate::embedded) fn new(folder: PathBuf, director: &str) -> Self {
        Self {
            releases: ReleaseStore::new(folder),
            stemcells: StemcellStore::default(),
            variables: Variables::new(director),
        }
    }
}
