//! Checks that a version that is uploaded again has the same content.

use crate::{
    DirectorError,
    release::{Release, ReleaseJob},
};

pub(super) fn refuse_other_content(existing: &Release, release: &Release) -> Result<(), DirectorError> {
    let title = format!("{}/{}", release.name, release.version);
    if existing.commit_hash != release.commit_hash || existing.uncommitted_changes != release.uncommitted_changes {
        let text = format!(
            "release '{title}' has already been uploaded with commit_hash as '{}' and uncommitted_changes as '{}'",
            existing.commit_hash, existing.uncommitted_changes
        );
        return Err(DirectorError::new(400, 30_014, text));
    }
    let other = |name: &str, fingerprint: &str| {
        existing.packages.iter().any(|package| package.name == name && package.fingerprint != fingerprint)
    };
    if let Some(package) = release.packages.iter().find(|package| other(&package.name, &package.fingerprint)) {
        let text =
            format!("package '{}' had different fingerprint in previously uploaded release '{title}'", package.name);
        return Err(DirectorError::new(400, 30_012, text));
    }
    let other = |job: &&ReleaseJob| {
        let same_name = |old: &&ReleaseJob| old.job.spec.name == job.job.spec.name;
        existing.jobs.iter().find(same_name).is_some_and(|old| old.fingerprint != job.fingerprint)
    };
    if let Some(job) = release.jobs.iter().find(other) {
        let name = &job.job.spec.name;
        let text = format!("job '{name}' had different fingerprint in previously uploaded release '{title}'");
        return Err(DirectorError::new(400, 30_013, text));
    }
    Ok(())
}
