//! Checks addons like a director, and determines their groups.

use super::written::Addon;
use crate::DirectorError;
use boshy_director::addons;
pub(super) use boshy_director::addons::Candidate;

/// Whether an addon's jobs run in an instance group.
pub(super) fn applies(addon: &Addon, candidate: Candidate<'_>) -> bool {
    addons::applies(&addon.include, &addon.exclude, candidate)
}

/// Where an addon is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Deployment,
    Runtime,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Runtime => "runtime",
        }
    }
}

/// Refuses an addon that a director would refuse. `releases` are those declared beside it.
pub(super) fn check(addon: &Addon, level: Level, releases: &[String]) -> Result<(), DirectorError> {
    let refuse = |code, text: String| Err(DirectorError::new(400, code, text));
    let named = level.name();
    for job in &addon.jobs {
        let Some(release) = &job.release else {
            let text = format!(
                "Required property 'release' was not specified in object (job '{}' of addon '{}')",
                job.name, addon.name
            );
            return refuse(40_001, text);
        };
        if !releases.contains(release) {
            let text = format!(
                "Manifest specifies job '{}' which is defined in '{release}', but '{release}' is not listed in the {named} \
                 releases section.",
                job.name
            );
            return refuse(530_002, text);
        }
    }
    if level == Level::Deployment && !(addon.include.deployments.is_empty() && addon.exclude.deployments.is_empty()) {
        return refuse(530_006, "Deployment filter is not allowed for deployment level addons.".to_owned());
    }
    for (section, filter) in [("include", &addon.include), ("exclude", &addon.exclude)] {
        if let Some(job) = filter.jobs.iter().find(|job| job.name.is_empty() || job.release.is_empty()) {
            let text = format!(
                "Job {{\"name\"=>\"{}\", \"release\"=>\"{}\"}} in {named} config's {section} section must have both name and release.",
                job.name, job.release
            );
            return refuse(530_004, text);
        }
        if filter.stemcell.iter().any(|stemcell| stemcell.os.is_empty()) {
            let text = format!("Stemcell {{}} in {named} config's {section} section must have an os name.");
            return refuse(530_005, text);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "addons_tests.rs"]
mod tests;
