//! Stemcells. Only their names are used: the infrastructure provides the operating systems.

use std::io::Read;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::version;
use crate::DirectorError;

/// Bytes read of `stemcell.MF`.
const MANIFEST_BYTES: u64 = 1 << 20;
/// Bytes of a stemcell's archive that are searched for it.
const ARCHIVE_BYTES: u64 = 8 << 30;

/// A stemcell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stemcell {
    /// Such as `bosh-warden-boshlite-ubuntu-noble-go_agent`.
    pub(crate) name: String,
    /// Such as `ubuntu-noble`.
    pub(crate) os: String,
    pub(crate) version: String,
}

/// Stemcells in the order of their upload.
#[derive(Debug, Default)]
pub(crate) struct StemcellStore {
    stemcells: Vec<(u64, Stemcell)>,
    last_id: u64,
}

#[derive(Deserialize)]
struct RawManifest {
    name: String,
    version: Value,
    operating_system: Option<String>,
}

impl Stemcell {
    /// A stemcell by its URL, `.../NAME?v=VERSION` or `.../bosh-stemcell-VERSION-REST.tgz`.
    ///
    /// # Errors
    /// When the URL names none.
    pub(crate) fn from_location(location: &str) -> Result<Self, DirectorError> {
        let bad =
            || DirectorError::new(400, 50_000, format!("Cannot tell name and version of a stemcell from '{location}'"));
        let url = Url::parse(location).map_err(|_| bad())?;
        let file = url.path_segments().and_then(|mut segments| segments.next_back()).ok_or_else(bad)?;
        let version = url.query_pairs().find(|(key, _)| key == "v").map(|(_, version)| version.into_owned());
        let (name, version) = match version {
            Some(version) => (file.to_owned(), version),
            None => from_file(file).ok_or_else(bad)?,
        };
        let os = os_of(&name).ok_or_else(bad)?;
        Ok(Self { name, os, version })
    }

    /// A stemcell by the manifest in its archive, which is not unpacked.
    ///
    /// # Errors
    /// When it is not a stemcell.
    pub(crate) fn from_archive(archive: &[u8]) -> Result<Self, DirectorError> {
        let bad = |why: String| DirectorError::new(400, 50_000, format!("Extracting stemcell archive failed: {why}"));
        let broken = |_| bad("it is no gzipped tar archive".to_owned());
        let mut archive = tar::Archive::new(GzDecoder::new(archive).take(ARCHIVE_BYTES));
        for entry in archive.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            if entry.path().map_err(broken)?.file_name().is_some_and(|name| name == "stemcell.MF") {
                let mut text = String::new();
                entry.take(MANIFEST_BYTES).read_to_string(&mut text).map_err(broken)?;
                let raw = boshy_yaml::from_text(&text, &boshy_yaml::Limits::default())
                    .map_err(|error| bad(error.to_string()))?;
                return Self::check(raw)
                    .ok_or_else(|| bad("its manifest has no version or operating system".to_owned()));
            }
        }
        Err(bad("it has no stemcell.MF".to_owned()))
    }

    fn check(raw: RawManifest) -> Option<Self> {
        let version = match raw.version {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let os = raw.operating_system.or_else(|| os_of(&raw.name))?;
        Some(Self { name: raw.name, os, version })
    }
}

/// Parses `bosh-stemcell-1.484-warden-boshlite-ubuntu-noble-go_agent.tgz`, also with the prefix `light-`.
fn from_file(file: &str) -> Option<(String, String)> {
    let rest = file.strip_suffix(".tgz")?;
    let rest = rest.strip_prefix("light-").unwrap_or(rest).strip_prefix("bosh-stemcell-")?;
    let (version, rest) = rest.split_once('-')?;
    Some((format!("bosh-{rest}"), version.to_owned()))
}

/// The operating system, such as `ubuntu-noble`, which precedes `go_agent`.
fn os_of(name: &str) -> Option<String> {
    let front = name.split("-go_agent").next()?;
    let mut words = front.rsplit('-');
    let (release, family) = (words.next()?, words.next()?);
    Some(format!("{family}-{release}"))
}

impl StemcellStore {
    /// Stores a stemcell; an existing one stays as it is.
    pub(crate) fn add(&mut self, stemcell: Stemcell) {
        if self.needs(&stemcell.name, &stemcell.version) {
            self.last_id += 1;
            self.stemcells.push((self.last_id, stemcell));
        }
    }

    /// Whether a stemcell is missing (`POST /stemcell_uploads`).
    pub(crate) fn needs(&self, name: &str, version: &str) -> bool {
        !self.stemcells.iter().any(|(_, known)| known.name == name && known.version == version)
    }

    /// A stemcell by operating system, or by name; `latest` is the newest.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, os: Option<&str>, name: Option<&str>, wanted: &str) -> Result<&Stemcell, DirectorError> {
        let is_meant = |stemcell: &&Stemcell| match name {
            Some(name) => stemcell.name == name,
            None => os.is_some_and(|os| stemcell.os == os),
        };
        let stemcells = self.stemcells.iter().map(|(_, stemcell)| stemcell).filter(is_meant);
        let fits = |stemcell: &&Stemcell| wanted == "latest" || stemcell.version == wanted;
        let found = stemcells.filter(fits).max_by(|a, b| version::compare(&a.version, &b.version));
        found.ok_or_else(|| {
            let text = match name {
                Some(name) => format!("Stemcell '{name}/{wanted}' doesn't exist"),
                None => format!("Stemcell version '{wanted}' for OS '{}' doesn't exist", os.unwrap_or_default()),
            };
            DirectorError::new(404, 50_003, text)
        })
    }

    /// Deletes a stemcell.
    ///
    /// # Errors
    /// When there is none, or deployments use it.
    pub(crate) fn delete(&mut self, name: &str, version: &str, users: &[String]) -> Result<(), DirectorError> {
        if self.needs(name, version) {
            return Err(DirectorError::new(404, 50_003, format!("Stemcell '{name}/{version}' doesn't exist")));
        }
        if !users.is_empty() {
            let text = format!("Stemcell '{name}/{version}' is still in use by: {}", users.join(", "));
            return Err(DirectorError::new(400, 50_004, text));
        }
        self.stemcells.retain(|(_, known)| known.name != name || known.version != version);
        Ok(())
    }

    /// `GET /stemcells`. `users` lists the deployments that use a name and version.
    pub(crate) fn rows(&self, users: &dyn Fn(&str, &str) -> Vec<String>) -> Value {
        let row = |(id, stemcell): &(u64, Stemcell)| {
            let deployments = users(&stemcell.name, &stemcell.version).into_iter().map(|name| json!({"name": name}));
            json!({
                "name": stemcell.name,
                "operating_system": stemcell.os,
                "version": stemcell.version,
                "cid": format!("stemcell-{id}"),
                "cpi": "",
                "deployments": deployments.collect::<Vec<_>>(),
                "api_version": 3,
                "id": id,
            })
        };
        Value::Array(self.stemcells.iter().map(row).collect())
    }
}

#[cfg(test)]
#[path = "stemcells_tests.rs"]
mod tests;
