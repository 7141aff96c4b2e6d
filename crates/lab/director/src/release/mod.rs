//! Releases: what `bosh create-release` makes, read, checked and rendered as a director does it.
//!
//! ```text
//!   tarball ── archive::unpack ──> Release { jobs, packages }
//!   folder  ── job_from_folder ──> Job ── Renderer (ruby, ERB) ──> RenderedJob
//! ```
//!
//! A tarball is untrusted: what it may unpack to is bounded, and nothing is written outside the folder given.
//!
//! Not promised: compiled releases, and properties checked against `properties_schema.json`.

pub mod archive;
mod digest;
mod error;
mod manifest;
mod packages;
mod render;
mod spec;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use self::manifest::is_version;
pub(crate) use self::render::{DOMAIN, bind, lookup, set};
pub use self::{
    error::ReleaseError,
    packages::{Package, closure},
    render::{Context, Link, LinkInstance, RenderError, Renderer, Rendering},
    spec::{Consumed, Job, JobSpec, Property, Provided, job_from_folder},
};

/// A release that was read.
#[derive(Clone, Debug)]
pub struct Release {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Commit it was made from.
    pub commit_hash: String,
    /// Whether the working copy had changes that were not committed.
    pub uncommitted_changes: bool,
    /// Jobs, in the order of `release.MF`.
    pub jobs: Vec<ReleaseJob>,
    /// Packages, in the order of `release.MF`.
    pub packages: Vec<Package>,
}

/// A job as a release holds it.
#[derive(Clone, Debug)]
pub struct ReleaseJob {
    /// The job.
    pub job: Job,
    /// Of its content.
    pub fingerprint: String,
    /// Digest of its archive, as `release.MF` has it: SHA-1 in hex, or `sha256:` and hex.
    pub digest: String,
    /// Version as `release.MF` has it; the CLI writes the fingerprint.
    pub version: String,
}

impl Release {
    /// A job by its name.
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().map(|entry| &entry.job).find(|job| job.spec.name == name)
    }
}
