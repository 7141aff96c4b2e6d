//! Which addons go to which instance groups: conditions are ANDed, the values of one are ORed; what is excluded is not included.

use super::written::{Addon, Filter};
use crate::embedded::DirectorError;

/// What an addon's conditions are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) deployment: &'a str,
    pub(super) teams: &'a [String],
    pub(super) group: &'a str,
    pub(super) lifecycle: &'a str,
    pub(super) os: &'a str,
    pub(super) networks: &'a [String],
    pub(super) azs: &'a [String],
    /// Name and release of the jobs that the group has so far.
    pub(super) jobs: &'a [(String, String)],
}

/// Whether an addon's jobs are to run in an instance group.
pub(super) fn applies(addon: &Addon, candidate: Candidate<'_>) -> bool {
    fits(&addon.include, candidate).unwrap_or(true) && !fits(&addon.exclude, candidate).unwrap_or(false)
}

/// Whether all conditions hold; none without conditions.
fn fits(filter: &Filter, candidate: Candidate<'_>) -> Option<bool> {
    let any_of = |values: &[String], own: &[String]| values.iter().any(|value| own.contains(value));
    let conditions = [
        condition(&filter.deployments, |names| names.iter().any(|name| name == candidate.deployment)),
        condition(&filter.jobs, |jobs| {
            let has = |(name, release): &(String, String)| {
                jobs.iter().any(|job| job.name == *name && job.release == *release)
            };
            candidate.jobs.iter().any(has)
        }),
        condition(&filter.instance_groups, |names| names.iter().any(|name| name == candidate.group)),
        condition(&filter.stemcell, |stemcells| stemcells.iter().any(|stemcell| stemcell.os == candidate.os)),
        condition(&filter.networks, |networks| any_of(networks, candidate.networks)),
        condition(&filter.teams, |teams| any_of(teams, candidate.teams)),
        condition(&filter.azs, |azs| any_of(azs, candidate.azs)),
        (!filter.lifecycle.is_empty()).then(|| filter.lifecycle == candidate.lifecycle),
    ];
    conditions.into_iter().flatten().reduce(|all, one| all && one)
}

fn condition<T>(values: &[T], holds: impl FnOnce(&[T]) -> bool) -> Option<bool> {
    (!values.is_empty()).then(|| holds(values))
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

/// Refuses an addon that a director refuses. `releases` are those named beside it.
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
