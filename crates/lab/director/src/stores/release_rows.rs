//! Releases as the director lists them.

use serde_json::{Value, json};

use super::stored::Stored;
use crate::release::{Package, ReleaseJob};
use boshy_director::wire::ReleaseVersion;

pub(super) fn version_row(stored: &Stored, is_deployed: bool) -> ReleaseVersion {
    let release = stored.release.as_deref();
    let jobs = release.map(|release| release.jobs.iter().map(|job| job.job.spec.name.clone()).collect());
    ReleaseVersion {
        version: stored.version.clone(),
        commit_hash: release.map(|release| release.commit_hash.clone()),
        uncommitted_changes: release.is_some_and(|release| release.uncommitted_changes),
        currently_deployed: is_deployed,
        job_names: jobs.unwrap_or_default(),
    }
}

pub(super) fn job_row(entry: &ReleaseJob) -> Value {
    let spec = &entry.job.spec;
    let consumes = spec.consumes.iter().map(|link| {
        let mut row = json!({"name": link.name, "type": link.kind});
        if link.optional {
            row["optional"] = json!(true);
        }
        row
    });
    let provides = spec.provides.iter().map(|link| {
        let mut row = json!({"name": link.name, "type": link.kind});
        if !link.properties.is_empty() {
            row["properties"] = json!(link.properties);
        }
        row
    });
    json!({
        "name": spec.name,
        "blobstore_id": entry.fingerprint,
        "sha1": entry.digest,
        "fingerprint": entry.fingerprint,
        "consumes": consumes.collect::<Vec<_>>(),
        "provides": provides.collect::<Vec<_>>(),
    })
}

pub(super) fn package_row(package: &Package) -> Value {
    json!({
        "name": package.name,
        "blobstore_id": package.fingerprint,
        "sha1": package.digest,
        "fingerprint": package.fingerprint,
        "compiled_packages": [],
    })
}
