//! Unpacks and checks the tarball of a release.
//!
//! ```text
//!   release.MF   jobs/NAME.tgz { job.MF monit templates/... }   packages/NAME.tgz   license.tgz
//! ```
//!
//! Jobs are read into memory; packages are written to a folder unopened. Other entries are ignored. The content of an
//! archive never determines where a file is written: package files are named by fingerprint.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use tar::Archive;

use super::{
    Job, JobSpec, Package, Release, ReleaseError, ReleaseJob, closure,
    digest::Digester,
    inner_path::inner_path,
    manifest::{INVALID_ARCHIVE, Manifest, NO_MANIFEST, Part},
};

const BAD_DIGEST: u32 = 30_015;
const INVALID_PACKAGE: u32 = 60_000;
const INVALID_JOB: u32 = 80_000;
const NO_JOB_MANIFEST: u32 = 80_001;
const MISSING_PACKAGE: u32 = 80_003;

/// Limits on the unpacked size of a tarball.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all entries of the tarball.
    pub total: u64,
    /// Bytes of one job's files, unpacked.
    pub job: u64,
    /// Bytes of `release.MF`.
    pub manifest: u64,
    /// Entries of one archive, and jobs or packages of a release.
    pub entries: usize,
}

impl Default for Limits {
    /// Enough for a few large programs.
    fn default() -> Self {
        Self { total: 2 << 30, job: 16 << 20, manifest: 4 << 20, entries: 10_000 }
    }
}

/// Unpacks a tarball and checks it like a director. Archives of packages are written to `folder`, which must exist, as
/// `FINGERPRINT.tgz`. They remain there when a later step fails.
///
/// # Errors
/// When it is not a release, when a part is missing, broken or differs from its digest, or when it exceeds the limits.
pub fn unpack(tarball: &[u8], folder: &Path, limits: &Limits) -> Result<Release, ReleaseError> {
    let manifest = read_manifest(tarball, limits)?;
    let mut parts = Parts { manifest: &manifest, folder, limits, jobs: BTreeMap::new(), packages: BTreeMap::new() };
    walk(tarball, limits, broken_release, |path, entry| parts.take(path, entry).map(ControlFlow::Continue))?;
    let Parts { mut jobs, mut packages, .. } = parts;
    let packages = manifest.packages.into_iter().map(|part| Package {
        archive: packages.remove(&part.name),
        name: part.name,
        version: part.version,
        fingerprint: part.fingerprint,
        digest: part.digest,
        dependencies: part.dependencies,
    });
    let packages: Vec<_> = packages.collect();
    let every: Vec<String> = packages.iter().map(|package| package.name.clone()).collect();
    closure(&packages, &every)?;
    let jobs = manifest.jobs.into_iter().map(|part| {
        let job: Job = jobs.remove(&part.name).ok_or_else(|| {
            let text = format!("Extracting job '{}/{}' archive failed: it is not there", part.name, part.version);
            ReleaseError::refused(INVALID_JOB, text)
        })?;
        if let Some(missing) = job.spec.packages.iter().find(|name| !every.contains(name)) {
            let text = format!("Job '{}' is referencing a missing package '{missing}'", part.name);
            return Err(ReleaseError::refused(MISSING_PACKAGE, text));
        }
        Ok(ReleaseJob { job, fingerprint: part.fingerprint, digest: part.digest, version: part.version })
    });
    let jobs = jobs.collect::<Result<_, _>>()?;
    Ok(Release {
        name: manifest.name,
        version: manifest.version,
        commit_hash: manifest.commit_hash,
        uncommitted_changes: manifest.uncommitted_changes,
        jobs,
        packages,
    })
}

/// Parts of the tarball found so far.
struct Parts<'a> {
    manifest: &'a Manifest,
    folder: &'a Path,
    limits: &'a Limits,
    jobs: BTreeMap<String, Job>,
    packages: BTreeMap<String, PathBuf>,
}

impl Parts<'_> {
    fn take(&mut self, path: &Path, entry: &mut dyn Read) -> Result<(), ReleaseError> {
        let (Some(kind), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name()) else { return Ok(()) };
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".tgz")) else { return Ok(()) };
        match kind {
            "jobs" => match self.manifest.jobs.iter().find(|part| part.name == name) {
                Some(part) => self.take_job(part, entry),
                None => Ok(()),
            },
            "packages" => match self.manifest.packages.iter().find(|part| part.name == name) {
                Some(part) => self.take_package(part, entry),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn take_job(&mut self, part: &Part, entry: &mut dyn Read) -> Result<(), ReleaseError> {
        let what = format!("job '{}/{}'", part.name, part.version);
        let mut bytes = Vec::new();
        let read = entry.take(self.limits.job + 1).read_to_end(&mut bytes).map_err(|_| broken_release())?;
        if read as u64 > self.limits.job {
            return Err(ReleaseError::TooLarge { what, limit: self.limits.job });
        }
        let mut digester = digester(part, &what)?;
        digester.update(&bytes);
        require(digester, &what)?;
        self.jobs.insert(part.name.clone(), job(&part.name, &bytes, self.limits)?);
        Ok(())
    }

    fn take_package(&mut self, part: &Part, entry: &mut dyn Read) -> Result<(), ReleaseError> {
        let what = format!("package '{}/{}'", part.name, part.version);
        let path = self.folder.join(format!("{}.tgz", part.fingerprint));
        let mut file = File::create(&path).map_err(ReleaseError::file(&path))?;
        let mut digester = digester(part, &what)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = entry.read(&mut buffer).map_err(|_| broken_release())?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            digester.update(bytes);
            file.write_all(bytes).map_err(ReleaseError::file(&path))?;
        }
        drop(file);
        let checked = require(digester, &what).and_then(|()| lists(&path, &what));
        if checked.is_err() {
            fs::remove_file(&path).map_err(ReleaseError::file(&path))?;
        }
        checked?;
        self.packages.insert(part.name.clone(), path);
        Ok(())
    }
}

/// Checks that a package's archive begins as a tar archive; it is opened in full where it is compiled.
fn lists(path: &Path, what: &str) -> Result<(), ReleaseError> {
    let broken = |_| {
        let text = format!("Extracting {what} archive failed. Check task debug log for details.");
        ReleaseError::refused(INVALID_PACKAGE, text)
    };
    let file = File::open(path).map_err(ReleaseError::file(path))?;
    let mut archive = Archive::new(GzDecoder::new(file));
    let first = archive.entries().map_err(broken)?.next();
    first.transpose().map(drop).map_err(broken)
}

fn digester(part: &Part, what: &str) -> Result<Digester, ReleaseError> {
    let unknown = || {
        let text = format!("Digest '{}' of {what} is of no known kind", part.digest);
        ReleaseError::refused(BAD_DIGEST, text)
    };
    Digester::new(&part.digest).ok_or_else(unknown)
}

fn require(digester: Digester, what: &str) -> Result<(), ReleaseError> {
    if digester.matches() {
        return Ok(());
    }
    Err(ReleaseError::refused(BAD_DIGEST, format!("Expected {what} to have the digest that release.MF says")))
}

/// Parses a job's archive.
///
/// # Errors
/// When it is broken, too large, or a director would refuse the job.
pub fn job(name: &str, archive: &[u8], limits: &Limits) -> Result<Job, ReleaseError> {
    let broken = || {
        let text = format!("Extracting job '{name}' archive failed. Check task debug log for details.");
        ReleaseError::refused(INVALID_JOB, text)
    };
    let within = Limits { total: limits.job, ..*limits };
    let mut files = BTreeMap::new();
    walk(archive, &within, broken, |path, entry| {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|_| broken())?;
        files.insert(path.to_string_lossy().into_owned(), bytes);
        Ok(ControlFlow::Continue(()))
    })?;
    let manifest = files
        .get("job.MF")
        .ok_or_else(|| ReleaseError::refused(NO_JOB_MANIFEST, format!("Missing job manifest for '{name}'")))?;
    let spec = JobSpec::parse(name, &String::from_utf8_lossy(manifest))?;
    Job::assemble(spec, &files)
}

/// Visits the files of a gzipped tar archive until told to stop; folders and links are skipped. All entries together
/// may have `limits.total` bytes, checked by their headers and again while reading.
fn walk(
    bytes: &[u8],
    limits: &Limits,
    broken: impl Fn() -> ReleaseError,
    mut visit: impl FnMut(&Path, &mut dyn Read) -> Result<ControlFlow<()>, ReleaseError>,
) -> Result<(), ReleaseError> {
    let too_large = || ReleaseError::TooLarge { what: "what an archive unpacks to".to_owned(), limit: limits.total };
    let overhead = limits.entries as u64 * 2048;
    let mut archive = Archive::new(Read::take(GzDecoder::new(bytes), limits.total + overhead));
    let mut total = 0_u64;
    for (count, entry) in archive.entries().map_err(|_| broken())?.enumerate() {
        let mut entry = entry.map_err(|_| broken())?;
        if count >= limits.entries {
            return Err(too_large());
        }
        total = total.saturating_add(entry.size());
        if total > limits.total {
            return Err(too_large());
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(|_| broken())?.into_owned();
        let path = inner_path(&path).ok_or_else(&broken)?;
        if visit(&path, &mut entry)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn broken_release() -> ReleaseError {
    ReleaseError::refused(INVALID_ARCHIVE, "Extracting release archive failed. Check task debug log for details.")
}

fn read_manifest(tarball: &[u8], limits: &Limits) -> Result<Manifest, ReleaseError> {
    let mut text = None;
    walk(tarball, limits, broken_release, |path, entry| {
        if path != Path::new("release.MF") {
            return Ok(ControlFlow::Continue(()));
        }
        let mut bytes = Vec::new();
        let read = entry.take(limits.manifest + 1).read_to_end(&mut bytes).map_err(|_| broken_release())?;
        if read as u64 > limits.manifest {
            return Err(ReleaseError::TooLarge { what: "release.MF".to_owned(), limit: limits.manifest });
        }
        text = Some(String::from_utf8_lossy(&bytes).into_owned());
        Ok(ControlFlow::Break(()))
    })?;
    let text = text.ok_or_else(|| ReleaseError::refused(NO_MANIFEST, "Release manifest not found"))?;
    Manifest::parse(&text, limits.entries)
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
