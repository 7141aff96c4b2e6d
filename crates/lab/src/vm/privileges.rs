//! What a process is left with before it starts: one user, no further groups, exactly the capabilities it declares, and no
//! way to more.

use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    sys::prctl::{set_keepcaps, set_no_new_privs},
    unistd::{Gid, Uid, setgid, setgroups, setuid},
};

use super::users::Vcap;
use crate::error::{Doing, LabError};

/// What a process is to have.
pub(super) struct Privileges {
    vcap: Vcap,
    capabilities: CapsHashSet,
}

impl Privileges {
    /// Names without `CAP_`, as in `bpm.yml`.
    ///
    /// # Errors
    /// When there is no such capability, or this lab does not have it to give.
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

    /// Gives up all else, for good.
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
        // Effective before permitted, of which it is a part; ambient last, which is a part of all others.
        for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted, CapSet::Ambient] {
            caps::set(None, set, &self.capabilities).map_err(|error| failed(&format!("{set:?}"), &error))?;
        }
        set_no_new_privs().doing(doing("no new ones"))
    }
}

fn failed(what: &str, error: &caps::errors::CapsError) -> LabError {
    LabError::Refused(format!("capabilities, {what}: {error}"))
}
