//! `release.MF`: the names, versions, fingerprints and digests of a release's parts.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::ReleaseError;

pub(super) const INVALID_ARCHIVE: u32 = 30_002;
pub(super) const NO_MANIFEST: u32 = 30_003;
const BAD_VERSION: u32 = 30_010;

#[derive(Deserialize)]
struct RawManifest {
    name: Value,
    version: Value,
    #[serde(default)]
    commit_hash: Value,
    #[serde(default)]
    uncommitted_changes: bool,
    #[serde(default)]
    jobs: Option<Vec<RawPart>>,
    #[serde(default)]
    packages: Option<Vec<RawPart>>,
    #[serde(default)]
    compiled_packages: Option<Value>,
}

/// An entry under `jobs` or `packages`. YAML parses a version that consists only of digits as a number.
#[derive(Deserialize)]
struct RawPart {
    name: Value,
    version: Value,
    fingerprint: Value,
    sha1: Value,
    #[serde(default)]
    dependencies: Option<Vec<String>>,
}

pub(super) struct Part {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) fingerprint: String,
    pub(super) digest: String,
    pub(super) dependencies: Vec<String>,
}

pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) commit_hash: String,
    pub(super) uncommitted_changes: bool,
    pub(super) jobs: Vec<Part>,
    pub(super) packages: Vec<Part>,
}

impl Manifest {
    /// Parses a manifest with at most `most` jobs and `most` packages.
    pub(super) fn parse(text: &str, most: usize) -> Result<Self, ReleaseError> {
        let raw: RawManifest = boshy_yaml::from_text(text, &boshy_yaml::Limits::default())
            .map_err(|error| ReleaseError::refused(NO_MANIFEST, format!("Release manifest cannot be read: {error}")))?;
        raw.check(most)
    }
}

impl RawManifest {
    fn check(self, most: usize) -> Result<Manifest, ReleaseError> {
        if self.compiled_packages.is_some() {
            return Err(ReleaseError::refused(INVALID_ARCHIVE, "This director takes no compiled releases"));
        }
        let name = name("release", &self.name)?;
        let version = scalar(&self.version).filter(|version| is_version(version)).ok_or_else(|| {
            let written = scalar(&self.version).unwrap_or_default();
            ReleaseError::refused(BAD_VERSION, format!("Release version invalid: {written}"))
        })?;
        let parts = |kind: &str, parts: Option<Vec<RawPart>>| {
            let parts = parts.unwrap_or_default();
            let mut names = BTreeSet::new();
            if parts.len() > most {
                let text = format!("The release has more than {most} {kind}s");
                return Err(ReleaseError::refused(INVALID_ARCHIVE, text));
            }
            let parts = parts.into_iter().map(|part| part.check(kind)).collect::<Result<Vec<_>, _>>()?;
            match parts.iter().find(|part| !names.insert(part.name.clone())) {
                Some(twice) => {
                    Err(ReleaseError::refused(INVALID_ARCHIVE, format!("The release has two {kind}s '{}'", twice.name)))
                }
                None => Ok(parts),
            }
        };
        Ok(Manifest {
            jobs: parts("job", self.jobs)?,
            packages: parts("package", self.packages)?,
            commit_hash: scalar(&self.commit_hash).unwrap_or_default(),
            uncommitted_changes: self.uncommitted_changes,
            name,
            version,
        })
    }
}

impl RawPart {
    fn check(self, kind: &str) -> Result<Part, ReleaseError> {
        let name = name(kind, &self.name)?;
        let fingerprint = scalar(&self.fingerprint).unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if fingerprint.is_empty() || fingerprint.len() > 128 || !fingerprint.bytes().all(is_name) {
            return Err(ReleaseError::refused(
                INVALID_ARCHIVE,
                format!("The {kind} '{name}' has no usable fingerprint"),
            ));
        }
        Ok(Part {
            version: scalar(&self.version).unwrap_or_default(),
            digest: scalar(&self.sha1).unwrap_or_default(),
            dependencies: self.dependencies.unwrap_or_default(),
            fingerprint,
            name,
        })
    }
}

fn name(kind: &str, written: &Value) -> Result<String, ReleaseError> {
    let is_plain = |name: &String| {
        let byte_fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
        !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(byte_fits)
    };
    let bad = || ReleaseError::refused(INVALID_ARCHIVE, format!("The release has a {kind} without a usable name"));
    scalar(written).filter(is_plain).ok_or_else(bad)
}

/// Text as written, whatever type YAML gives it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether a text is a version: letters, digits, dots, dashes and plus signs, as in `1.2.3+dev.4`.
pub(crate) fn is_version(text: &str) -> bool {
    let byte_fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
    !text.is_empty() && text.len() <= 128 && text.bytes().all(byte_fits) && !text.starts_with(['.', '+', '-'])
}
