//! Names of VMs: `GROUP/INDEX`, or `DEPLOYMENT/GROUP/INDEX` where that is ambiguous.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// Full name of a VM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceName {
    /// Deployment.
    pub deployment: String,
    /// Instance group.
    pub group: String,
    /// Index in the group.
    pub index: u32,
}

impl InstanceName {
    /// `GROUP/INDEX`, as the BOSH CLI shows an instance.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}/{}", self.group, self.index)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.deployment, self.group, self.index)
    }
}

/// A possibly partial name of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRef {
    /// Deployment, when given.
    pub deployment: Option<String>,
    /// Instance group.
    pub group: String,
    /// Index in the group.
    pub index: u32,
}

impl FromStr for InstanceRef {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let wrong =
            || format!("{written:?} is no instance; write GROUP/INDEX, such as banana/0, or DEPLOYMENT/GROUP/INDEX");
        let (rest, index) = written.rsplit_once('/').ok_or_else(wrong)?;
        let index = index.parse().map_err(|_| wrong())?;
        let (deployment, group) = match rest.split_once('/') {
            Some((deployment, group)) => (Some(deployment.to_owned()), group),
            None => (None, rest),
        };
        let empty = group.is_empty() || group.contains('/') || deployment.as_deref() == Some("");
        if empty { Err(wrong()) } else { Ok(Self { deployment, group: group.to_owned(), index }) }
    }
}

impl fmt::Display for InstanceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(deployment) = &self.deployment {
            write!(f, "{deployment}/")?;
        }
        write!(f, "{}/{}", self.group, self.index)
    }
}

impl InstanceRef {
    /// The VM with this name.
    ///
    /// # Errors
    /// When no VM, or more than one, matches the name.
    pub fn resolve<'a>(&self, known: impl IntoIterator<Item = &'a InstanceName>) -> Result<&'a InstanceName, LabError> {
        let known: Vec<&InstanceName> = known.into_iter().collect();
        let meant = |name: &&InstanceName| {
            name.group == self.group
                && name.index == self.index
                && self.deployment.as_ref().is_none_or(|deployment| *deployment == name.deployment)
        };
        let list = |names: &[&InstanceName], text: fn(&InstanceName) -> String| {
            names.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ")
        };
        match known.iter().copied().filter(meant).collect::<Vec<_>>().as_slice() {
            [one] => Ok(one),
            [] if known.is_empty() => Err(LabError::Refused(format!("there is no VM {self}: the lab has none at all"))),
            [] => Err(LabError::Refused(format!(
                "there is no VM {self}; there are {}",
                list(&known, InstanceName::short)
            ))),
            several => Err(LabError::Refused(format!(
                "{self} is ambiguous; write one of {}",
                list(several, InstanceName::to_string)
            ))),
        }
    }
}

/// Checks a name that becomes part of a path: names of deployments, groups and VMs become names of directories.
pub(crate) fn check_directory(name: &str) -> Result<(), String> {
    let safe = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if safe && !name.is_empty() && !name.starts_with('.') {
        Ok(())
    } else {
        Err(format!("the lab cannot keep files under the name {name:?}; use letters, digits, - and _"))
    }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
