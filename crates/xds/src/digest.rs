//! One value that says what an agent has of a type, in the place of a list of all names and versions.
//!
//! ```text
//!   agent ── digest of what it has ──> pilot    nothing follows when it is that of what the agent should have
//!   agent <── ASK ─────────────────── pilot    otherwise
//!   agent ── names and versions ─────> pilot    as an agent says without digests
//! ```
//!
//! A pilot says in the headers of a stream that it reads digests. To another one, an agent says the list at once.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::ResourceMap;

/// Header with which a pilot says that it reads digests, and of which form.
pub(crate) const HEADER: &str = "boshy-digest";

/// The form: a sum of the first 16 octets of SHA-256.
pub(crate) const FORM: &str = "1";

/// A name that no resource has and no agent asks for. A pilot says that it is gone, in order to ask which versions the agent has.
pub const ASK: &str = "\u{10fffe}";

/// The sum of the hashes of names with their versions. So it depends on no order and on no layers, and a part can be
/// added or taken out. Equal digests mean equal resources, as equal versions do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Of resources by name.
    pub fn of(resources: &ResourceMap) -> Self {
        resources.values().fold(Self::default(), |sum, resource| sum.with(&resource.name, &resource.version))
    }

    /// With one more resource.
    #[must_use]
    pub fn with(self, name: &str, version: &str) -> Self {
        Self(self.0.wrapping_add(hash(name, version)))
    }

    /// Without one of its resources.
    #[must_use]
    pub(crate) fn without(self, name: &str, version: &str) -> Self {
        Self(self.0.wrapping_sub(hash(name, version)))
    }
}

/// As it is on the wire.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

fn hash(name: &str, version: &str) -> u128 {
    // The octet between the parts occurs in no text.
    let digest = Sha256::new().chain_update(name).chain_update([0xff]).chain_update(version).finalize();
    digest[..16].iter().fold(0, |number, octet| number << 8 | u128::from(*octet))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Resource;

    fn resources(entries: &[(&str, u8)]) -> ResourceMap {
        let resource = |(name, edition): &(&str, u8)| Arc::new(Resource::new(*name, vec![*edition]));
        entries.iter().map(resource).map(|resource| (Arc::clone(&resource.name), resource)).collect()
    }

    #[test]
    fn it_tells_names_and_versions_apart() {
        let of = |entries: &[(&str, u8)]| Digest::of(&resources(entries));
        assert_eq!(of(&[("a", 1), ("b", 2)]), of(&[("b", 2), ("a", 1)]));
        let others: [&[(&str, u8)]; 4] = [&[("a", 2), ("b", 1)], &[("a", 1)], &[], &[("a", 1), ("c", 2)]];
        for other in others {
            assert_ne!(of(&[("a", 1), ("b", 2)]), of(other));
        }
    }

    #[test]
    fn parts_are_added_and_taken_out() {
        let (all, some) = (resources(&[("a", 1), ("b", 2)]), resources(&[("a", 1)]));
        let b = &all["b"];
        assert_eq!(Digest::of(&some).with(&b.name, &b.version), Digest::of(&all));
        assert_eq!(Digest::of(&all).without(&b.name, &b.version), Digest::of(&some));
    }

    #[test]
    fn its_form_on_the_wire_does_not_change() {
        assert_eq!(Digest::of(&resources(&[("a", 1), ("b", 2)])).to_string(), "3cXmJlbkHxith79Ni_mVFg");
    }
}
