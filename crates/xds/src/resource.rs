//! A resource as it is held and passed on: encoded once and shared by reference.
//!
//! A resource's version is the hash of its encoding. So equal content has equal versions on every pilot and across
//! restarts, and a proxy that reconnects to another pilot is sent nothing that it has.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// One resource, encoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Name on the wire.
    pub name: Arc<str>,
    /// Hash of the encoding.
    pub version: Arc<str>,
    /// The message, as in `google.protobuf.Any.value`.
    pub body: Bytes,
}

impl Resource {
    /// Creates a resource from a name and an encoded message.
    pub fn new(name: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let version = version_of([&*body]);
        Self { name: name.into(), version, body }
    }

    /// This resource with another body, made on the VM. A proxy that accepts it has answered for this one: its version
    /// begins with this version ([`is_edition_of`]).
    pub(crate) fn edited(&self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let version = format!("{}{EDITED}{}", self.version, version_of([&*body])).into();
        Self { name: Arc::clone(&self.name), version, body }
    }
}

/// Stands between the version of a resource and that of its edited body. No version has it.
const EDITED: char = '+';

/// Whether a version is another one, or that of a resource that was edited from it.
pub(crate) fn is_edition_of(version: &str, original: &str) -> bool {
    version == original || version.split_once(EDITED).is_some_and(|(of, _)| of == original)
}

/// Shows no body, because that of a secret holds a private key.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, body } = self;
        f.debug_struct("Resource").field("name", name).field("version", version).field("octets", &body.len()).finish()
    }
}

/// Resources of one type by name.
pub type ResourceMap = BTreeMap<Arc<str>, Arc<Resource>>;

/// Version of named resources: the same content under another name gives another version. The octet between the parts
/// occurs in no text.
pub(crate) fn version_of_map(map: &ResourceMap) -> Arc<str> {
    const END: &[u8] = &[0xff];
    version_of(map.iter().flat_map(|(name, resource)| [name.as_bytes(), END, resource.version.as_bytes(), END]))
}

/// Hash of these parts, one after the other, as text. Every resource on the wire carries one, so it is short.
pub(crate) fn version_of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Arc<str> {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..8]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(resources: &[(&str, &str)]) -> Arc<str> {
        let resource = |(name, version): &(&str, &str)| {
            let resource = Resource { name: (*name).into(), version: (*version).into(), body: Bytes::new() };
            (resource.name.clone(), Arc::new(resource))
        };
        version_of_map(&resources.iter().map(resource).collect())
    }

    #[test]
    fn the_version_of_a_layer_tells_names_apart_that_have_the_same_content() {
        assert_ne!(version(&[("a", "1")]), version(&[("b", "1")]));
        assert_ne!(version(&[("a", "1"), ("b", "11")]), version(&[("a", "11"), ("b", "1")]));
        assert_ne!(version(&[("a", "1")]), version(&[("a1", "")]));
        assert_eq!(version(&[("a", "1"), ("b", "1")]), version(&[("b", "1"), ("a", "1")]));
    }
}
