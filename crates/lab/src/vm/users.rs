//! The user that jobs run as.

use std::{fs, os::unix::fs::chown, path::Path};

use crate::error::{Doing, LabError};

/// Number of the user and of the group `vcap` on a stemcell.
const VCAP: u32 = 1000;

/// The user that runs jobs and owns their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vcap {
    /// The user `vcap`.
    Own,
    /// The user namespace has only one user, so the jobs run as that one.
    Shared,
}

impl Vcap {
    /// Determines which of the two the user namespace allows.
    pub(super) fn here() -> Result<Self, LabError> {
        let maps = ["uid_map", "gid_map"].map(|map| {
            let path = format!("/proc/self/{map}");
            fs::read_to_string(&path).doing(|| format!("reading {path}"))
        });
        let [users, groups] = maps;
        Ok(if maps_vcap(&users?) && maps_vcap(&groups?) { Self::Own } else { Self::Shared })
    }

    /// Its number, if it is a separate user.
    pub(super) fn number(self) -> Option<u32> {
        (self == Self::Own).then_some(VCAP)
    }

    /// Changes a file's owner to the user.
    pub(super) fn own(self, path: &Path) -> Result<(), LabError> {
        chown(path, self.number(), self.number()).doing(|| format!("giving {} to vcap", path.display()))
    }

    /// Makes a file of root's accessible to the group.
    pub(super) fn share(self, path: &Path) -> Result<(), LabError> {
        chown(path, None, self.number()).doing(|| format!("giving {} to the group vcap", path.display()))
    }

    /// The note for the operator, if any.
    pub(super) fn note(self) -> Option<String> {
        let note = "jobs run as the one user of this lab, not as vcap: an ordinary user may map no second one; their capabilities are limited all the same";
        (self == Self::Shared).then(|| note.to_owned())
    }
}

/// Whether a map of `user_namespaces(7)` (first number inside, first number outside, count) contains vcap.
fn maps_vcap(map: &str) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let (inside, count) = (numbers.next().unwrap_or(0), numbers.nth(1).unwrap_or(0));
        (inside..inside + count).contains(&u64::from(VCAP))
    })
}

/// The host's `/etc/passwd`, in which the user vcap replaces any user with its name or number.
pub(super) fn passwd(host: &str) -> String {
    with_vcap(host, "vcap:x:1000:1000:BOSH System User:/home/vcap:/bin/bash")
}

/// The host's `/etc/group`, likewise.
pub(super) fn group(host: &str) -> String {
    with_vcap(host, "vcap:x:1000:")
}

fn with_vcap(host: &str, entry: &str) -> String {
    let taken = |line: &&str| {
        let mut fields = line.split(':');
        fields.next() == Some("vcap") || fields.nth(1) == Some("1000")
    };
    let kept = host.lines().filter(|line| !taken(line));
    kept.chain([entry]).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vcap_takes_the_place_of_who_has_its_name_or_number() {
        let host = "root:x:0:0::/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/sh\nvcap:x:7:7::/:/bin/sh\nbin:x:2:1000::/:/x\n";
        assert_eq!(
            passwd(host),
            "root:x:0:0::/root:/bin/sh\nbin:x:2:1000::/:/x\nvcap:x:1000:1000:BOSH System User:/home/vcap:/bin/bash\n"
        );
        assert_eq!(group("users:x:100:\nubuntu:x:1000:"), "users:x:100:\nvcap:x:1000:\n");
    }

    #[test]
    fn a_user_namespace_of_one_user_has_no_vcap() {
        assert!(maps_vcap("         0          0 4294967295\n"));
        assert!(maps_vcap("0 1234 1\n1 100000 65536\n"));
        assert!(!maps_vcap("         0       1000          1\n"));
        assert!(!maps_vcap(""));
    }
}
