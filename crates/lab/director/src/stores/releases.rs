//! Uploaded releases, and releases that the lab implements itself.
//!
//! Packages are stored once per fingerprint, whichever release contained them. An upload has two steps, so that the
//! long one needs no lock: [`read_upload`] unpacks, [`ReleaseStore::admit`] decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{
    release_rows::{job_row, package_row, version_row},
    same_version,
    stored::Stored,
    version,
};
use crate::{
    DirectorError,
    release::{self, Package, Release, ReleaseError, ReleaseJob, archive},
};
use boshy_director::wire::ReleaseRow;

/// Releases that cannot be downloaded without internet access: the infrastructure implements their jobs itself.
const PLAYED: [&str; 2] = ["bpm", "bosh-dns"];

/// Releases by name and version.
#[derive(Debug)]
pub(crate) struct ReleaseStore {
    folder: PathBuf,
    releases: BTreeMap<String, Vec<Stored>>,
    archives: BTreeMap<String, PathBuf>,
    uploads: u64,
}

/// Options of an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upload {
    /// Store it under the next free version.
    pub(crate) rebase: bool,
    /// Replace what is stored.
    pub(crate) fix: bool,
}

/// Result of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Stages of the task with their steps, for its events.
    pub(crate) stages: Vec<(String, Vec<String>)>,
    /// The task's result.
    pub(crate) result: String,
}

impl From<ReleaseError> for DirectorError {
    fn from(error: ReleaseError) -> Self {
        Self::new(400, error.code(), error.to_string())
    }
}

/// Unpacks an upload. `incoming` is [`ReleaseStore::incoming`].
pub(crate) fn read_upload(tarball: &[u8], incoming: &Path) -> Result<Release, DirectorError> {
    fs::create_dir_all(incoming).map_err(|error| unusable(incoming, &error))?;
    Ok(archive::unpack(tarball, incoming, &archive::Limits::default())?)
}

impl ReleaseStore {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, releases: BTreeMap::new(), archives: BTreeMap::new(), uploads: 0 }
    }

    /// A separate folder for the next upload. The code that unpacks there removes it when [`ReleaseStore::admit`] is
    /// done.
    pub(crate) fn incoming(&mut self) -> PathBuf {
        self.uploads += 1;
        self.folder.join(format!("incoming-{}", self.uploads))
    }

    /// Stores an unpacked release.
    ///
    /// # Errors
    /// When the version exists with other content, or a package without its archive is not stored already.
    pub(crate) fn admit(&mut self, mut release: Release, upload: Upload) -> Result<Admitted, DirectorError> {
        if upload.rebase {
            release.version = self.next_version(&release);
        }
        let existing = self.stored(&release.name, &release.version).and_then(|stored| stored.release.clone());
        if let Some(existing) = &existing {
            same_version::refuse_other_content(existing, &release)?;
        }
        let stages = self.stages(&release, upload.fix);
        for package in &mut release.packages {
            self.keep(package, upload.fix)?;
        }
        if let Some(existing) = existing {
            add_missing(&mut release, &existing);
        }
        let name_version = format!("{}/{}", release.name, release.version);
        let result = format!("Created release '{name_version}'");
        let stored = Stored { version: release.version.clone(), release: Some(Arc::new(release.clone())) };
        self.put(&release.name, stored);
        Ok(Admitted { stages, result })
    }

    /// Registers a release by its URL, if the lab implements it itself.
    ///
    /// # Errors
    /// For any other URL.
    pub(crate) fn admit_location(&mut self, location: &str) -> Result<Admitted, DirectorError> {
        let no_internet = || {
            let played = PLAYED.join(" and ");
            let text = format!(
                "Cannot download '{location}': this director has no internet. It knows the releases {played} at any \
                 version; upload others as files"
            );
            DirectorError::new(400, 100, text)
        };
        let (name, version) = played_release(location).ok_or_else(no_internet)?;
        self.play(&name, &version);
        let stages = vec![("Release has been created".to_owned(), vec![format!("{name}/{version}")])];
        let result = format!("Created release '{name}/{version}': its part is played by the lab");
        Ok(Admitted { stages, result })
    }

    /// Registers a version of a release that the lab implements itself.
    pub(crate) fn play(&mut self, name: &str, version: &str) {
        if self.stored(name, version).is_none() {
            self.put(name, Stored { version: version.to_owned(), release: None });
        }
    }

    /// A version of a release; `latest` is the newest. Of a release that the lab implements itself, every version
    /// exists.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, name: &str, version: &str) -> Result<Stored, DirectorError> {
        if PLAYED.contains(&name) && version != "latest" && self.stored(name, version).is_none() {
            return Ok(Stored { version: version.to_owned(), release: None });
        }
        let versions = self.versions(name)?;
        let found = match version {
            "latest" => versions.last(),
            version => versions.iter().find(|stored| stored.version == version),
        };
        found.cloned().ok_or_else(|| no_version(name, version))
    }

    /// `GET /releases`. `is_deployed` says whether a deployment uses a name and version.
    pub(crate) fn rows(&self, is_deployed: &dyn Fn(&str, &str) -> bool) -> Vec<ReleaseRow> {
        let rows = self.releases.iter().map(|(name, versions)| {
            let versions = versions.iter().map(|stored| version_row(stored, is_deployed(name, &stored.version)));
            ReleaseRow { name: name.clone(), release_versions: versions.collect() }
        });
        rows.collect()
    }

    /// `GET /releases/:name?version=`; without a version, all jobs and packages of all versions.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn inspect(&self, name: &str, version: Option<&str>) -> Result<Value, DirectorError> {
        let chosen = match version {
            Some(version) => vec![self.find(name, version)?],
            None => self.versions(name)?.to_vec(),
        };
        let releases: Vec<_> = chosen.iter().filter_map(|stored| stored.release.as_deref()).collect();
        let mut jobs: Vec<&ReleaseJob> = releases.iter().flat_map(|release| &release.jobs).collect();
        jobs.sort_by(|a, b| a.job.spec.name.cmp(&b.job.spec.name));
        let mut packages: Vec<&Package> = releases.iter().flat_map(|release| &release.packages).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let jobs: Vec<_> = jobs.into_iter().map(job_row).collect();
        let packages: Vec<_> = packages.into_iter().map(package_row).collect();
        Ok(json!({"jobs": jobs, "packages": packages}))
    }

    /// `POST /packages/matches`: fingerprints of a release manifest's packages that need not be uploaded.
    ///
    /// # Errors
    /// When the text is not a release manifest.
    pub(crate) fn matches(&self, manifest: &str) -> Result<Vec<String>, DirectorError> {
        #[derive(Deserialize)]
        struct Manifest {
            packages: Option<Vec<Entry>>,
        }
        #[derive(Deserialize)]
        struct Entry {
            fingerprint: Option<String>,
        }
        let bad = |_| DirectorError::new(400, 440_001, "Manifest doesn't have a usable packages section");
        let manifest: Manifest = boshy_yaml::from_text(manifest, &boshy_yaml::Limits::default()).map_err(bad)?;
        let fingerprints = manifest.packages.unwrap_or_default().into_iter().filter_map(|entry| entry.fingerprint);
        Ok(fingerprints.filter(|fingerprint| self.archives.contains_key(fingerprint)).collect())
    }

    /// Deletes a version, or all. `users` lists the deployments that use a name and version.
    ///
    /// # Errors
    /// When there is none, or it is in use.
    pub(crate) fn delete(
        &mut self,
        name: &str,
        version: Option<&str>,
        users: &dyn Fn(&str, &str) -> Vec<String>,
    ) -> Result<(), DirectorError> {
        let versions = self.versions(name)?.to_vec();
        let gone = |stored: &Stored| version.is_none_or(|version| stored.version == version);
        if !versions.iter().any(gone) {
            return Err(no_version(name, version.unwrap_or_default()));
        }
        let used: BTreeSet<String> =
            versions.iter().filter(|stored| gone(stored)).flat_map(|stored| users(name, &stored.version)).collect();
        if !used.is_empty() {
            let used = used.into_iter().collect::<Vec<_>>().join(", ");
            return Err(match version {
                None => DirectorError::new(400, 30_007, format!("Release '{name}' is still in use by: {used}")),
                Some(version) => {
                    let text = format!("ReleaseVersion '{name}/{version}' is still in use by: {used}");
                    DirectorError::new(400, 30_008, text)
                }
            });
        }
        let kept: Vec<_> = versions.into_iter().filter(|stored| !gone(stored)).collect();
        if kept.is_empty() {
            self.releases.remove(name);
        } else {
            self.releases.insert(name.to_owned(), kept);
        }
        self.drop_unused_archives()
    }

    fn drop_unused_archives(&mut self) -> Result<(), DirectorError> {
        let releases = self.releases.values().flatten().filter_map(|stored| stored.release.as_deref());
        let used: BTreeSet<String> =
            releases.flat_map(|release| &release.packages).map(|package| package.fingerprint.clone()).collect();
        let unused: Vec<_> = self.archives.extract_if(.., |fingerprint, _| !used.contains(fingerprint)).collect();
        unused.iter().try_for_each(|(_, path)| fs::remove_file(path).map_err(|error| unusable(path, &error)))
    }

    fn stored(&self, name: &str, version: &str) -> Option<&Stored> {
        self.releases.get(name)?.iter().find(|stored| stored.version == version)
    }

    fn versions(&self, name: &str) -> Result<&[Stored], DirectorError> {
        let versions = self.releases.get(name).map(Vec::as_slice);
        versions.ok_or_else(|| DirectorError::new(404, 30_005, format!("Release '{name}' doesn't exist")))
    }

    fn put(&mut self, name: &str, stored: Stored) {
        let versions = self.releases.entry(name.to_owned()).or_default();
        versions.retain(|other| other.version != stored.version);
        versions.push(stored);
        versions.sort_by(|a, b| version::compare(&a.version, &b.version));
    }

    fn next_version(&self, release: &Release) -> String {
        let base = release.version.split("+dev.").next().unwrap_or_default();
        let versions = self.releases.get(&release.name).into_iter().flatten();
        let numbers =
            versions.filter_map(|stored| stored.version.strip_prefix(base)?.strip_prefix("+dev.")?.parse::<u64>().ok());
        format!("{base}+dev.{}", numbers.max().unwrap_or(0) + 1)
    }

    /// Moves a package's archive to its final place, and records that place.
    fn keep(&mut self, package: &mut Package, fix: bool) -> Result<(), DirectorError> {
        let known = self.archives.get(&package.fingerprint).filter(|_| !fix || package.archive.is_none()).cloned();
        let kept = match (known, package.archive.take()) {
            (Some(known), _) => known,
            (None, Some(brought)) => {
                let kept = self.folder.join(format!("{}.tgz", package.fingerprint));
                fs::rename(&brought, &kept).map_err(|error| unusable(&kept, &error))?;
                kept
            }
            (None, None) => {
                let text = format!(
                    "Extracting package '{}/{}' archive failed. Check task debug log for details.",
                    package.name, package.version
                );
                return Err(DirectorError::new(400, 60_000, text));
            }
        };
        self.archives.insert(package.fingerprint.clone(), kept.clone());
        package.archive = Some(kept);
        Ok(())
    }

    fn stages(&self, release: &Release, fix: bool) -> Vec<(String, Vec<String>)> {
        let single = |name: &str| (name.to_owned(), vec![name.to_owned()]);
        let mut stages =
            vec![single("Extracting release"), single("Verifying manifest"), single("Resolving package dependencies")];
        let (old, new): (Vec<&Package>, Vec<&Package>) =
            release.packages.iter().partition(|package| self.archives.contains_key(&package.fingerprint));
        let title = |package: &&Package| format!("{}/{}", package.name, package.version);
        push(&mut stages, "package", &new.iter().map(title).collect::<Vec<_>>(), old.len());
        let known: BTreeSet<&str> = self
            .releases
            .get(&release.name)
            .into_iter()
            .flatten()
            .filter_map(|stored| stored.release.as_deref())
            .flat_map(|release| &release.jobs)
            .map(|job| job.fingerprint.as_str())
            .collect();
        let (old, new): (Vec<&ReleaseJob>, Vec<&ReleaseJob>) =
            release.jobs.iter().partition(|job| !fix && known.contains(job.fingerprint.as_str()));
        let title = |job: &&ReleaseJob| format!("{}/{}", job.job.spec.name, job.version);
        push(&mut stages, "job", &new.iter().map(title).collect::<Vec<_>>(), old.len());
        stages.push(("Release has been created".to_owned(), vec![format!("{}/{}", release.name, release.version)]));
        stages
    }
}

fn push(stages: &mut Vec<(String, Vec<String>)>, kind: &str, new: &[String], old: usize) {
    if !new.is_empty() {
        stages.push((format!("Creating new {kind}s"), new.to_vec()));
    }
    if old > 0 {
        let title = format!("Processing {old} existing {kind}{}", if old > 1 { "s" } else { "" });
        stages.push((title.clone(), vec![title]));
    }
}

/// Adds what earlier uploads of the version contained.
fn add_missing(release: &mut Release, existing: &Release) {
    let jobs: Vec<_> = existing.jobs.iter().filter(|old| release.job(&old.job.spec.name).is_none()).cloned().collect();
    release.jobs.extend(jobs);
    let has = |name: &str| release.packages.iter().any(|package| package.name == name);
    let packages: Vec<_> = existing.packages.iter().filter(|old| !has(&old.name)).cloned().collect();
    release.packages.extend(packages);
}

/// Name and version in a URL of bosh.io: `.../cloudfoundry/bpm-release?v=1.2.3`, or `.../bpm-release-1.2.3.tgz`.
fn played_release(location: &str) -> Option<(String, String)> {
    let url = Url::parse(location).ok()?;
    let file = url.path_segments()?.next_back()?;
    PLAYED.iter().find_map(|name| {
        let rest = file.strip_prefix(name)?;
        let rest = rest.strip_prefix("-release").unwrap_or(rest);
        let from_query = url.query_pairs().find(|(key, _)| key == "v").map(|(_, version)| version.into_owned());
        let from_name = || rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(".tgz")).map(str::to_owned);
        let version = if rest.is_empty() { from_query } else { from_name() }?;
        release::is_version(&version).then(|| ((*name).to_owned(), version))
    })
}

fn no_version(name: &str, version: &str) -> DirectorError {
    DirectorError::new(404, 30_006, format!("Release version '{name}/{version}' doesn't exist"))
}

fn unusable(path: &Path, error: &io::Error) -> DirectorError {
    DirectorError::new(500, 100, format!("Cannot use '{}': {error}", path.display()))
}

#[cfg(test)]
#[path = "releases_tests.rs"]
mod tests;
