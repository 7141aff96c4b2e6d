//! Drops privileges before a process starts: it keeps one user, no supplementary groups, exactly its declared
//! capabilities, and no way to gain more.

use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    sys::prctl::{set_keepcaps, set_no_new_privs},
    unistd::{Gid, Uid, setgid, setgroups, setuid},
};

use super::users::Vcap;
use crate::error::{Doing, LabError};

/// Privileges that a process keeps.
pub(super) struct Privileges {
    vcap: Vcap,
    capabilities: CapsHashSet,
}

impl Privileges {
    /// Takes names of capabilities without `CAP_`, as in `bpm.yml`.
    ///
    /// # Errors
    /// When there is no such capability, or the lab itself does not have it.
    pub(super) fn new(vcap: Vcap, names: &[String]) -> Result<Self, LabError> {
        let held = caps::read(None, CapSet::Permitted).map_err(|error| failed("looking at", &error))?;
        let mut capabilities = CapsHashSet::new();
        for name in names {
            let capability: Capability = format!("CAP_{name}")
                .parse()
                .map_err(|_| LabError::Refused(format!("there is no capability {name}")))?;
            if !held.contains(&capability) {
                return Err(LabError::Refused(format!("the lab has no capability {name} to give")));
            }
            capabilities.insert(capability);
        }
        Ok(Self { vcap, capabilities })
    }

    /// Drops all other privileges permanently.
    pub(super) fn keep_only(&self) -> Result<(), LabError> {
        let doing = |what: &'static str| move || format!("giving up privileges: {what}");
        for capability in caps::runtime::thread_all_supported() {
            if !self.capabilities.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability).map_err(|error| failed("bounding", &error))?;
            }
        }
        if let Some(number) = self.vcap.number() {
            setgroups(&[]).doing(doing("groups"))?;
            setgid(Gid::from_raw(number)).doing(doing("group"))?;
            set_keepcaps(true).doing(doing("keeping capabilities over the change of user"))?;
            setuid(Uid::from_raw(number)).doing(doing("user"))?;
        }
        // Effective before permitted, because it is a subset of it; ambient last, because it is a subset of all others.
        for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted, CapSet::Ambient] {
            caps::set(None, set, &self.capabilities).map_err(|error| failed(&format!("{set:?}"), &error))?;
        }
        set_no_new_privs().doing(doing("no new ones"))
    }
}

fn failed(what: &str, error: &caps::errors::CapsError) -> LabError {
    LabError::Refused(format!("capabilities, {what}: {error}"))
}
