//! Releases: the output of `bosh create-release`, parsed, checked and rendered like a director does.
//!
//! ```text
//!   tarball ── archive::unpack ──> Release { jobs, packages }
//!   folder  ── job_from_folder ──> Job ── Renderer (ruby, ERB) ──> RenderedJob
//! ```
//!
//! A tarball is untrusted: its unpacked size is bounded, and nothing is written outside the given folder.
//!
//! Not promised: compiled releases, and checks of properties against `properties_schema.json`.

pub mod archive;
mod digest;
mod error;
mod inner_path;
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

/// A parsed release.
#[derive(Clone, Debug)]
pub struct Release {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Commit it was made from.
    pub commit_hash: String,
    /// Whether the working copy had uncommitted changes.
    pub uncommitted_changes: bool,
    /// Jobs, in the order of `release.MF`.
    pub jobs: Vec<ReleaseJob>,
    /// Packages, in the order of `release.MF`.
    pub packages: Vec<Package>,
}

/// A job in a release.
#[derive(Clone, Debug)]
pub struct ReleaseJob {
    /// The job.
    pub job: Job,
    /// Fingerprint of its content.
    pub fingerprint: String,
    /// Digest of its archive in `release.MF`: SHA-1 in hex, or `sha256:` and hex.
    pub digest: String,
    /// Version in `release.MF`; the CLI writes the fingerprint.
    pub version: String,
}

impl Release {
    /// A job by name.
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().map(|entry| &entry.job).find(|job| job.spec.name == name)
    }
}
