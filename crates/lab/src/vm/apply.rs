//! Puts rendered jobs and compiled packages in place, as the BOSH agent's `apply` does.
//!
//! Everything that can be refused is refused before anything is changed. Then the new folders are written beside the
//! old ones and replace them.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use boshy_lab_director::{ApplySpec, PackageRef, RenderedFile, RenderedJob};

use super::{processes, users::Vcap};
use crate::{
    error::{Doing, LabError},
    state_dir::fresh_directory,
};

/// Applies jobs and packages to the tree at `root`, which is `/var/vcap`. Returns notes on what the jobs ask for and do
/// not get.
pub(super) fn apply(root: &Path, spec: &ApplySpec, vcap: Vcap) -> Result<Vec<String>, LabError> {
    let watched = processes::of_spec(spec).map_err(LabError::Refused)?;
    check(root, spec)?;
    replace(&root.join("packages"), |packages| link_packages(packages, &spec.packages))?;
    replace(&root.join("jobs"), |jobs| spec.jobs.iter().try_for_each(|job| write_job(jobs, job, vcap)))?;
    replace(&root.join("monit/job"), |monit| write_monit_files(monit, &spec.jobs))?;
    for job in &spec.jobs {
        for parent in ["data", "sys/log", "sys/run"] {
            let path = root.join(parent).join(&job.name);
            if !path.exists() {
                make_directory(&path, 0o770)?;
                vcap.share(&path)?;
            }
        }
    }
    Ok(processes::unenforced(&watched))
}

fn check(root: &Path, spec: &ApplySpec) -> Result<(), LabError> {
    let names = spec.jobs.iter().map(|job| &job.name).chain(spec.packages.iter().map(|package| &package.name));
    for name in names {
        if Path::new(name).components().ne([Component::Normal(name.as_ref())]) {
            return Err(LabError::Refused(format!("{name:?} is no name of a job or a package")));
        }
    }
    for job in &spec.jobs {
        for file in &job.files {
            let plain = |part| matches!(part, Component::Normal(_));
            if file.path.is_empty() || !Path::new(&file.path).components().all(plain) {
                return Err(LabError::Refused(format!("job {}: {:?} is no path of a file in it", job.name, file.path)));
            }
        }
    }
    match spec.packages.iter().find(|package| !root.join(compiled(package)).is_dir()) {
        Some(package) => Err(LabError::Refused(format!("the package {} is not compiled", package.name))),
        None => Ok(()),
    }
}

fn compiled(package: &PackageRef) -> PathBuf {
    Path::new("data/packages").join(&package.name).join(&package.fingerprint)
}

/// Writes a new directory and replaces another one by it.
fn replace(at: &Path, write: impl FnOnce(&Path) -> Result<(), LabError>) -> Result<(), LabError> {
    let beside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", at.display()));
    let (new, old) = (beside("new"), beside("old"));
    fresh_directory(&new)?;
    write(&new)?;
    fresh_directory(&old)?;
    if at.exists() {
        fs::rename(at, &old).doing(|| format!("putting {} aside", at.display()))?;
    }
    fs::rename(&new, at).doing(|| format!("putting {} in place", at.display()))?;
    fs::remove_dir_all(&old).doing(|| format!("removing {}", old.display()))
}

fn link_packages(packages: &Path, refs: &[PackageRef]) -> Result<(), LabError> {
    for package in refs {
        let (target, link) = (Path::new("/var/vcap").join(compiled(package)), packages.join(&package.name));
        symlink(target, &link).doing(|| format!("linking {}", link.display()))?;
    }
    Ok(())
}

fn write_job(jobs: &Path, job: &RenderedJob, vcap: Vcap) -> Result<(), LabError> {
    let directory = jobs.join(&job.name);
    make_directory(&directory, 0o755)?;
    for RenderedFile { path, content } in &job.files {
        let mode = if path.starts_with("bin/") { 0o750 } else { 0o640 };
        let path = directory.join(path);
        make_directory(path.parent().unwrap_or(&directory), 0o755)?;
        fs::write(&path, content).doing(|| format!("writing {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .doing(|| format!("setting the mode of {}", path.display()))?;
        vcap.share(&path)?;
    }
    Ok(())
}

/// The file names are numbered, because the order of the jobs is kept nowhere else.
fn write_monit_files(monit: &Path, jobs: &[RenderedJob]) -> Result<(), LabError> {
    for (number, job) in jobs.iter().enumerate() {
        let path = monit.join(format!("{number:04}_{}.monitrc", job.name));
        fs::write(&path, &job.monit).doing(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn make_directory(path: &Path, mode: u32) -> Result<(), LabError> {
    DirBuilder::new().recursive(true).mode(mode).create(path).doing(|| format!("making {}", path.display()))
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
