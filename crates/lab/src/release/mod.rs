//! A development release: like one that the BOSH CLI makes of `bosh-release/`, but made without it.
//!
//! Job templates and packaging scripts are compiled into this program. The program for boshy is this one; Envoy's path
//! is given. Archives are not compressed, since they only go to a director on the same machine.
//!
//! Not promised: the CLI's fingerprints. Fingerprints here also depend on the version, so another version differs in
//! every part, like a release in which everything has changed.

mod archive;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use boshy_yaml::Limits;
use include_dir::{Dir, DirEntry, include_dir};
use serde::Deserialize;
use serde_json::{Value, json};

use self::archive::{Archive, digest, short_digest};
use crate::error::{Doing, LabError};

static JOBS: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../bosh-release/jobs");
static PACKAGES: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../bosh-release/packages");

/// The release's name.
pub(crate) const NAME: &str = "istio";
/// The version that the shipped manifests ask for.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Programs, which are not in the source folders.
pub(crate) struct Programs {
    /// Path of boshy.
    pub(crate) boshy: PathBuf,
    /// Path of Envoy.
    pub(crate) envoy: Option<PathBuf>,
}

impl Programs {
    /// The program for a path in a package's sources.
    fn at(&self, path: &str) -> Option<&Path> {
        match Path::new(path).file_name()?.to_str()? {
            "boshy" => Some(&self.boshy),
            "envoy" => self.envoy.as_deref(),
            _ => None,
        }
    }
}

/// The source files of a release, by path.
pub(crate) struct Source {
    name: String,
    files: BTreeMap<String, Cow<'static, [u8]>>,
}

impl Source {
    /// The sources compiled into this program.
    pub(crate) fn inside() -> Self {
        let mut files = BTreeMap::new();
        for (folder, dir) in [("jobs", &JOBS), ("packages", &PACKAGES)] {
            collect(dir, folder, &mut files);
        }
        Self { name: NAME.to_owned(), files }
    }

    /// A folder with `jobs/`, `packages/`, `src/` and `config/final.yml`.
    pub(crate) fn folder(folder: &Path) -> Result<Self, LabError> {
        let mut files = BTreeMap::new();
        for part in ["jobs", "packages", "src", "config"] {
            read_all(&folder.join(part), part, &mut files)?;
        }
        let mut source = Self { name: String::new(), files };
        let Final { name } = source.spec("config/final.yml")?;
        source.name = name;
        Ok(source)
    }

    /// Names of the folders directly below `jobs` or `packages`.
    fn parts(&self, of: &str) -> BTreeSet<&str> {
        self.below(of).filter_map(|(path, _)| Some(path.split_once('/')?.0)).collect()
    }

    /// Files below a folder, by their relative paths.
    fn below(&self, folder: &str) -> impl Iterator<Item = (&str, &[u8])> {
        let prefix = format!("{folder}/");
        self.files.iter().filter_map(move |(path, content)| Some((path.strip_prefix(&prefix)?, content.as_ref())))
    }

    fn text(&self, path: &str) -> Result<String, LabError> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let content = self.files.get(path).ok_or_else(missing).doing(|| format!("reading {path}"))?;
        Ok(String::from_utf8_lossy(content).into_owned())
    }

    fn spec<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, LabError> {
        boshy_yaml::from_text(&self.text(path)?, &Limits::default())
            .map_err(|source| LabError::Manifest { operation: format!("reading {path}"), source: Box::new(source) })
    }
}

/// Content of `config/final.yml`.
#[derive(Deserialize)]
struct Final {
    name: String,
}

/// The part of a job's `spec` that a release's manifest repeats.
#[derive(Deserialize)]
struct JobSpec {
    name: String,
    #[serde(default)]
    packages: Vec<String>,
}

/// Content of a package's `spec`.
#[derive(Deserialize)]
struct PackageSpec {
    name: String,
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
}

/// Writes the release as a tar archive, like `bosh create-release --tarball`.
pub(crate) fn write(to: &Path, version: &str, source: &Source, programs: &Programs) -> Result<(), LabError> {
    let parts = to.with_extension("parts");
    for folder in ["jobs", "packages"] {
        let folder = parts.join(folder);
        fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
    }
    let jobs = source.parts("jobs").into_iter();
    let jobs = jobs.map(|job| write_job(source, job, version, &parts)).collect::<Result<Vec<_>, _>>()?;
    let needed = needed(source, &jobs)?;
    let packages = needed.iter().map(|package| write_package(source, package, version, programs, &parts));
    let packages = packages.collect::<Result<Vec<_>, _>>()?;
    let manifest = json!({
        "name": source.name,
        "version": version,
        "commit_hash": "development",
        "uncommitted_changes": true,
        "jobs": jobs,
        "packages": packages,
    });
    let mut archive = Archive::create(to)?;
    archive.text("release.MF", &format!("{manifest:#}\n"), 0o644)?;
    for (folder, entries) in [("jobs", &jobs), ("packages", &packages)] {
        for entry in entries {
            let path = format!("{folder}/{}.tgz", entry["name"].as_str().unwrap_or_default());
            archive.file(&path, &parts.join(&path), 0o644)?;
        }
    }
    archive.finish()?;
    fs::remove_dir_all(&parts).doing(|| format!("removing {}", parts.display()))
}

/// Packages that the jobs need, with their dependencies. A release may contain others, such as one that builds from
/// source what is prebuilt here.
fn needed(source: &Source, jobs: &[Value]) -> Result<BTreeSet<String>, LabError> {
    let of = |job: &Value| job["packages"].as_array().cloned().unwrap_or_default();
    let mut open: Vec<String> = jobs.iter().flat_map(of).filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let mut needed = BTreeSet::new();
    while let Some(name) = open.pop() {
        let spec: PackageSpec = source.spec(&format!("packages/{name}/spec"))?;
        if needed.insert(name) {
            open.extend(spec.dependencies);
        }
    }
    Ok(needed)
}

fn write_job(source: &Source, job: &str, version: &str, parts: &Path) -> Result<Value, LabError> {
    let folder = format!("jobs/{job}");
    let JobSpec { name, packages } = source.spec(&format!("{folder}/spec"))?;
    let path = parts.join(format!("jobs/{name}.tgz"));
    let mut archive = Archive::create(&path)?;
    archive.text("job.MF", &source.text(&format!("{folder}/spec"))?, 0o644)?;
    for (inside, content) in source.below(&folder).filter(|(inside, _)| *inside != "spec") {
        archive.bytes(inside, content, 0o644)?;
    }
    archive.finish()?;
    let (fingerprint, digest) = fingerprint(&path, version)?;
    Ok(json!({
        "name": name, "version": fingerprint, "fingerprint": fingerprint, "sha1": digest, "packages": packages,
    }))
}

fn write_package(
    source: &Source,
    package: &str,
    version: &str,
    programs: &Programs,
    parts: &Path,
) -> Result<Value, LabError> {
    let folder = format!("packages/{package}");
    let PackageSpec { name, dependencies, files } = source.spec(&format!("{folder}/spec"))?;
    let path = parts.join(format!("packages/{name}.tgz"));
    let mut archive = Archive::create(&path)?;
    for (inside, content) in source.below(&folder).filter(|(inside, _)| *inside != "spec") {
        archive.bytes(inside, content, 0o644)?;
    }
    for file in &files {
        match (source.files.get(&format!("src/{file}")), programs.at(file)) {
            (Some(content), _) => archive.bytes(file, content, 0o644)?,
            (None, Some(program)) => archive.file(file, program, 0o755)?,
            (None, None) => {
                return Err(LabError::Refused(format!(
                    "the lab does not have {file} of the package {name}; make the release with the BOSH CLI"
                )));
            }
        }
    }
    archive.finish()?;
    let (fingerprint, digest) = fingerprint(&path, version)?;
    Ok(json!({
        "name": name, "version": fingerprint, "fingerprint": fingerprint, "sha1": digest, "dependencies": dependencies,
    }))
}

fn fingerprint(archive: &Path, version: &str) -> Result<(String, String), LabError> {
    let mut file = File::open(archive).doing(|| format!("opening {}", archive.display()))?;
    let content = digest(&mut file).doing(|| format!("reading {}", archive.display()))?;
    Ok((short_digest(format!("{version} {content}").as_bytes()), content))
}

fn collect(dir: &'static Dir<'static>, folder: &str, files: &mut BTreeMap<String, Cow<'static, [u8]>>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(inner) => collect(inner, folder, files),
            DirEntry::File(file) => {
                files.insert(format!("{folder}/{}", file.path().display()), Cow::Borrowed(file.contents()));
            }
        }
    }
}

/// Reads all files below a folder. A missing folder has none.
fn read_all(folder: &Path, name: &str, files: &mut BTreeMap<String, Cow<'static, [u8]>>) -> Result<(), LabError> {
    let doing = || format!("reading {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.doing(doing)?,
    };
    for entry in entries {
        let entry = entry.doing(doing)?;
        let (path, name) = (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            read_all(&path, &name, files)?;
        } else {
            files.insert(name, Cow::Owned(fs::read(&path).doing(|| format!("reading {}", path.display()))?));
        }
    }
    Ok(())
}
