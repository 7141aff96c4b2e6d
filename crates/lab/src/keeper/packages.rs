//! Compiles packages once for the whole lab.

use std::{collections::BTreeMap, sync::Arc};

use boshy_lab_director::PackageRef;
use tokio::sync::Mutex;

use super::machines::Machines;
use crate::{
    error::LabError,
    vm::{Compilation, compile},
};

/// Compiles missing packages in the given order, in which dependencies come first.
pub(super) async fn compile_all(
    machines: &Arc<Machines>,
    compiling: &Mutex<()>,
    packages: &[PackageRef],
) -> Result<(), LabError> {
    let _one_at_a_time = compiling.lock().await;
    let store = machines.state.packages();
    for package in packages {
        if store.join(&package.name).join(&package.fingerprint).exists() {
            continue;
        }
        machines.say(format!("compiling package {}/{}", package.name, package.fingerprint));
        let compilation = compilation(package, packages);
        let (boshy, store) = (machines.boshy.clone(), store.clone());
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
