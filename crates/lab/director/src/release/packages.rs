//! Packages of a release and the order in which they are compiled.

use std::{collections::BTreeSet, path::PathBuf};

use super::ReleaseError;

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version in `release.MF`; the CLI writes the fingerprint.
    pub version: String,
    /// Fingerprint of its content.
    pub fingerprint: String,
    /// Digest of its archive in `release.MF`.
    pub digest: String,
    /// Names of packages that must exist when it is compiled.
    pub dependencies: Vec<String>,
    /// Its gzipped tar archive on disk. `None` when the tarball omits it because the director has it already.
    pub archive: Option<PathBuf>,
}

/// The wanted packages and all their dependencies, each after its own dependencies, otherwise in the given order.
///
/// # Errors
/// When a package is missing, or packages depend on each other in a circle.
pub fn closure<'a>(packages: &'a [Package], wanted: &[String]) -> Result<Vec<&'a Package>, ReleaseError> {
    let mut walk = Walk { packages, found: Vec::new(), done: BTreeSet::new(), open: Vec::new() };
    wanted.iter().try_for_each(|name| walk.visit(name))?;
    Ok(walk.found)
}

struct Walk<'a> {
    packages: &'a [Package],
    found: Vec<&'a Package>,
    done: BTreeSet<&'a str>,
    open: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    /// The depth is bounded by the number of packages, because a circle is an error.
    fn visit(&mut self, name: &str) -> Result<(), ReleaseError> {
        let package = self
            .packages
            .iter()
            .find(|package| package.name == name)
            .ok_or_else(|| ReleaseError::refused(100, format!("Package name '{name}' not found in the release")))?;
        if self.done.contains(package.name.as_str()) {
            return Ok(());
        }
        if self.open.contains(&package.name.as_str()) {
            let circle = self.open.join("=>");
            return Err(ReleaseError::refused(100, format!("Cycle: {circle}=>{name}")));
        }
        self.open.push(&package.name);
        package.dependencies.iter().try_for_each(|dependency| self.visit(dependency))?;
        self.open.pop();
        self.done.insert(&package.name);
        self.found.push(package);
        Ok(())
    }
}

#[cfg(test)]
#[path = "packages_tests.rs"]
mod tests;
