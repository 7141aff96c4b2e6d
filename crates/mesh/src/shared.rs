//! Immutable values that are shared by reference and know the hash of their content.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use sha2::{Digest, Sha256};

/// A value that many snapshots share. It cannot be changed, so the hash of its content is computed once, when it is
/// made. Two are equal when their contents are; this compares pointers or hashes, whatever the size of the value.
pub struct Shared<T>(Arc<Hashed<T>>);

struct Hashed<T> {
    hash: ContentHash,
    value: T,
}

/// The SHA-256 of all that a value's [`Hash`] feeds. Derive `Hash` for what is hashed, so that no field is forgotten.
///
/// It is the same in every process of the same build. Another build may feed the fields differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ContentHash([u8; 32]);

impl<T: Hash> Shared<T> {
    /// Shares a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Hashed { hash: ContentHash::of(&value), value }))
    }
}

impl<T> Shared<T> {
    /// Whether both are the same pointer. What was computed from one then holds for the other.
    pub fn ptr_eq(one: &Self, other: &Self) -> bool {
        Arc::ptr_eq(&one.0, &other.0)
    }
}

impl ContentHash {
    pub(crate) fn of(value: &impl Hash) -> Self {
        let mut feed = Feed::default();
        value.hash(&mut feed);
        Self(feed.0.finalize().into())
    }
}

/// The first 16 hexadecimal digits.
impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Feeds a digest with what a value hashes.
#[derive(Default)]
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.clone().finalize().into();
        digest[..8].iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other) || self.0.hash == other.0.hash
    }
}

impl<T> Eq for Shared<T> {}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash.hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_are_equal_and_only_the_same_pointer_is_the_same() {
        let (one, same, other) = (Shared::new("a"), Shared::new("a"), Shared::new("b"));
        assert!(one == same && one != other);
        assert!(Shared::ptr_eq(&one, &one.clone()) && !Shared::ptr_eq(&one, &same));
    }

    #[test]
    fn the_hash_of_a_content_is_the_same_in_every_process() {
        assert_eq!(ContentHash::of(&("a", 1_u16, Some('b'), [2_u8, 3])).to_string(), "bde5f656ebb4cac4");
        assert_ne!(ContentHash::of(&("ab", "c")), ContentHash::of(&("a", "bc")));
    }
}
