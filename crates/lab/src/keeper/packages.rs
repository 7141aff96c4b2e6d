//! Compiles packages once for the whole lab.

use std::{collections::BTreeMap, path::Path};

use boshy_lab_director::PackageRef;
use tokio::sync::Mutex;

use crate::{
    error::LabError,
    vm::{Compilation, compile},
};

/// Compiles the packages that `store` lacks, in the given order, in which dependencies come first. Each is reported to
/// `say`.
pub(super) async fn compile_all(
    boshy: &Path,
    store: &Path,
    compiling: &Mutex<()>,
    packages: &[PackageRef],
    say: impl Fn(String),
) -> Result<(), LabError> {
    let _one_at_a_time = compiling.lock().await;
    for package in packages {
        if store.join(&package.name).join(&package.fingerprint).exists() {
            continue;
        }
        say(format!("compiling package {}/{}", package.name, package.fingerprint));
        let compilation = compilation(package, packages);
        let (boshy, store) = (boshy.to_owned(), store.to_owned());
        let compiled = tokio::task::spawn_blocking(move || compile(&boshy, &store, &compilation)).await;
        compiled.map_err(|_| LabError::Refused(format!("compiling {} panicked", package.name)))??;
    }
    Ok(())
}

fn compilation(package: &PackageRef, all: &[PackageRef]) -> Compilation {
    let of = |name: &String| {
        let found = all.iter().find(|package| package.name == *name)?;
        Some((name.clone(), found.fingerprint.clone()))
    };
    let dependencies: BTreeMap<String, String> = package.dependencies.iter().filter_map(of).collect();
    Compilation {
        name: package.name.clone(),
        fingerprint: package.fingerprint.clone(),
        version: package.fingerprint.clone(),
        archive: package.archive.clone(),
        dependencies,
    }
}
