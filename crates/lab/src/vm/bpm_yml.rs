//! Parses `config/bpm.yml` of a job. Unknown keys are ignored, as bpm ignores them; a value of the wrong type is an
//! error.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use boshy_yaml::Limits as YamlLimits;
use serde::{Deserialize, Deserializer, Serialize};

#[derive(Deserialize)]
struct File {
    #[serde(default, deserialize_with = "nullable")]
    processes: Vec<Process>,
}

/// A process that bpm runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) executable: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) args: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) workdir: Option<PathBuf>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) hooks: Hooks,
    /// Names without `CAP_`.
    #[serde(default, deserialize_with = "nullable")]
    pub(super) capabilities: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) ephemeral_disk: bool,
    #[serde(default)]
    pub(super) persistent_disk: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) additional_volumes: Vec<Volume>,
    #[serde(default, rename = "unsafe", deserialize_with = "nullable")]
    pub(super) unconfined: Unsafe,
    #[serde(default)]
    pub(super) shutdown_signal: ShutdownSignal,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hooks {
    #[serde(default)]
    pub(super) pre_start: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    #[serde(default)]
    pub(super) memory: Option<String>,
    #[serde(default)]
    pub(super) open_files: Option<u64>,
    #[serde(default)]
    pub(super) processes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Volume {
    pub(super) path: PathBuf,
    #[serde(default)]
    pub(super) writable: bool,
    #[serde(default)]
    pub(super) allow_executions: bool,
    /// The directory is used as it is. Otherwise it is created, closed to others and owned by vcap.
    #[serde(default)]
    pub(super) mount_only: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unsafe {
    #[serde(default)]
    pub(super) privileged: bool,
    /// Paths anywhere on the VM; they may contain `*`.
    #[serde(default, deserialize_with = "nullable")]
    pub(super) unrestricted_volumes: Vec<Volume>,
}

/// The signal that asks a process to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ShutdownSignal {
    #[default]
    #[serde(rename = "TERM")]
    Term,
    #[serde(rename = "INT")]
    Int,
}

/// Parses a job's file.
pub(super) fn parse(job: &str, text: &str) -> Result<Vec<Process>, String> {
    let file: File = boshy_yaml::from_text(text, &YamlLimits::default()).map_err(|error| error.to_string())?;
    for process in &file.processes {
        check(job, process)?;
    }
    Ok(file.processes)
}

fn check(job: &str, process: &Process) -> Result<(), String> {
    let name = &process.name;
    if name.is_empty() || name.contains('/') {
        return Err(format!("a process has the name {name:?}"));
    }
    if process.executable.is_empty() {
        return Err(format!("process {name} has no executable"));
    }
    if process.unconfined.privileged {
        return Err(format!(
            "process {name} asks for unsafe.privileged, which is not to be had here: the machine is not only this VM's"
        ));
    }
    if let Some(memory) = process.limits.memory.as_deref().filter(|memory| !is_size(memory)) {
        return Err(format!("process {name} has the limit of memory {memory:?}, which is no size such as 512M"));
    }
    let own = ["data", "store"].map(|kind| Path::new("/var/vcap").join(kind).join(job));
    for Volume { path, .. } in &process.additional_volumes {
        // Two paths are equal when their components are; a path that is not canonical differs only in its text.
        let canonical = path.is_absolute() && path.as_os_str() == path.components().collect::<PathBuf>().as_os_str();
        let plain = !path.components().any(|part| part == Component::ParentDir);
        if !canonical || !plain || !path.starts_with("/var/vcap") || path == Path::new("/var/vcap") {
            return Err(format!("process {name} has the volume {}, which is no path inside /var/vcap", path.display()));
        }
        if own.contains(path) {
            return Err(format!(
                "process {name} has the volume {}, which is the job's own; ask for ephemeral_disk or persistent_disk",
                path.display()
            ));
        }
    }
    Ok(())
}

/// A number and a unit of bytes, such as `1.5G` or `512MB`.
fn is_size(text: &str) -> bool {
    let split = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let units = ["B", "K", "KB", "KIB", "M", "MB", "MIB", "G", "GB", "GIB", "T", "TB", "TIB"];
    number.parse::<f64>().is_ok_and(|number| number > 0.0) && units.contains(&unit.to_ascii_uppercase().as_str())
}

/// A key without a value counts as missing.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
#[path = "bpm_yml_tests.rs"]
mod tests;
