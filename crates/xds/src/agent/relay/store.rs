//! The state that the agent keeps across a restart: the content of its state file, and the seal.
//!
//! The content is the protobuf message `File`. What has changed since it was written is a `FileChange`, each time.

use std::{collections::BTreeSet, sync::Arc};

use boshy_mesh::{Hostname, NameTable};
use boshy_state::{Format, SealError};
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::gate::{self, Gate, Target, Targets};
use crate::{
    Resource, ResourceMap, ResourceType,
    names::Name,
    session::client::{DeltaClient, ResponseFromPilot},
    way::compare,
};

const FORMAT: Format = Format { name: "boshy-relay", version: 1 };

/// Header of the files of the first release, whose numbers are big endian:
///
/// ```text
///   magic (8) | version 1 (4) | length of the content (8) | SHA-256 of the content (32)
/// ```
const FIRST_MAGIC: &[u8] = b"BOSHYVM\n\0\0\0\x01";
const FIRST_HEADER: usize = 8 + 4 + 8 + 32;

/// Resources that Envoy accepted or that were not judged, and the answered names: all that a VM needs to work without a
/// pilot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    resources: DeltaClient,
    answered: Arc<Targets>,
    waiting: Arc<Targets>,
    /// The latest version of the table that pilots share by which names were received.
    table: Option<u64>,
}

/// Why bytes are not a stored state.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is foreign, newer or damaged.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The content is not the expected message.
    #[error("decoding the stored state")]
    Protobuf(#[source] prost::DecodeError),
    /// The content is inconsistent.
    #[error("the stored state is inconsistent: {0}")]
    Inconsistent(String),
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(message, repeated, tag = "1")]
    types: Vec<FileType>,
    #[prost(string, repeated, tag = "2")]
    answered: Vec<String>,
    /// Tells files apart that have the same content.
    #[prost(fixed64, tag = "3")]
    edition: u64,
    #[prost(uint64, optional, tag = "4")]
    table: Option<u64>,
}

/// What has changed since the file was written, or since the change before.
#[derive(Clone, PartialEq, Message)]
struct FileChange {
    /// With the resources that are new or have changed.
    #[prost(message, repeated, tag = "1")]
    types: Vec<FileType>,
    /// Names that are answered now, and were not before.
    #[prost(string, repeated, tag = "2")]
    answered: Vec<String>,
    /// Names that were answered before, and are not now.
    #[prost(string, repeated, tag = "3")]
    not_answered: Vec<String>,
    /// The version of the shared table, when it is another.
    #[prost(uint64, optional, tag = "4")]
    table: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct FileType {
    #[prost(string, tag = "1")]
    url: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<FileResource>,
    /// In a change: names of resources that are gone.
    #[prost(string, repeated, tag = "3")]
    removed: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct FileResource {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

impl Stored {
    pub(super) fn of(resources: DeltaClient, Gate { answered, waiting, .. }: Gate, table: Option<u64>) -> Self {
        Self { resources, answered, waiting, table }
    }

    pub(super) fn into_parts(self) -> (DeltaClient, Gate, Option<u64>) {
        (self.resources, Gate::new(self.answered, self.waiting), self.table)
    }

    /// The latest version of the table of leases by which names were received. `None` when the pilots share none.
    pub fn table(&self) -> Option<u64> {
        self.table
    }

    /// The answered names.
    pub fn answered(&self) -> NameTable {
        gate::table(&self.answered)
    }

    /// The names that wait for Envoy.
    pub fn waiting(&self) -> NameTable {
        gate::table(&self.waiting)
    }

    /// Resources of a type; empty for a type that is not known.
    pub fn resources(&self, kind: ResourceType) -> &Arc<ResourceMap> {
        self.resources.held(kind)
    }

    /// Encodes the state. The same state is always the same bytes.
    pub fn encode(&self) -> Bytes {
        self.encode_edition(0)
    }

    /// Encodes the state. The same state is other bytes in another edition.
    pub fn encode_edition(&self, edition: u64) -> Bytes {
        let known = ResourceType::ALL.into_iter().filter(|kind| self.resources.is_known(*kind));
        let file = File {
            types: known.map(|kind| file_type(kind, self.resources.held(kind).values())).collect(),
            answered: self.answered.keys().map(Hostname::to_string).collect(),
            edition,
            table: self.table,
        };
        FORMAT.seal(&file.encode_to_vec()).into()
    }

    /// Encodes what has changed since another state. It is empty when what is stored of both is the same. `None` when
    /// another type has become known, or one is not known any more.
    pub fn encode_change(&self, before: &Self) -> Option<Vec<u8>> {
        let known = |state: &Self| ResourceType::ALL.map(|kind| state.resources.is_known(kind));
        if known(self) != known(before) {
            return None;
        }
        let types = ResourceType::ALL.into_iter();
        let types = types.map(|kind| type_change(kind, self.resources.held(kind), before.resources.held(kind)));
        let change = FileChange {
            types: types.filter(|change| !change.resources.is_empty() || !change.removed.is_empty()).collect(),
            answered: names_without(&self.answered, &before.answered),
            not_answered: names_without(&before.answered, &self.answered),
            table: self.table.filter(|_| self.table != before.table),
        };
        Some(change.encode_to_vec())
    }

    /// Decodes what [`Stored::encode`] of this or an earlier boshy has made. Bodies share the given bytes.
    ///
    /// # Errors
    /// For any other input; see [`StoreError`].
    pub fn decode(octets: &Bytes) -> Result<Self, StoreError> {
        Self::decode_with(octets, Vec::new())
    }

    /// The same, with the changes since that [`Stored::encode_change`] has made, in order.
    ///
    /// # Errors
    /// For any other input; see [`StoreError`].
    pub fn decode_with(octets: &Bytes, changes: Vec<Vec<u8>>) -> Result<Self, StoreError> {
        let File { types, answered, table, .. } = File::decode(content(octets)?).map_err(StoreError::Protobuf)?;
        let mut file = Decoded { table, ..Decoded::default() };
        // Another version may serve more types. The first one stored routes, of which there never were any.
        let is_empty = |entry: &FileType| entry.resources.is_empty() && ResourceType::from_url(&entry.url).is_none();
        file.apply(types.into_iter().filter(|entry| !is_empty(entry)))?;
        for host in answered {
            file.is_answered(host)?;
        }
        for change in changes {
            let change = FileChange::decode(Bytes::from(change)).map_err(StoreError::Protobuf)?;
            for host in &change.not_answered {
                file.answered.remove(host);
            }
            file.apply(change.types)?;
            for host in change.answered {
                file.is_answered(host)?;
            }
            file.table = change.table.or(file.table);
        }
        file.into_stored()
    }
}

/// A state that is being decoded.
#[derive(Default)]
struct Decoded {
    resources: DeltaClient,
    names: Targets,
    answered: BTreeSet<String>,
    table: Option<u64>,
}

impl Decoded {
    fn apply(&mut self, types: impl IntoIterator<Item = FileType>) -> Result<(), StoreError> {
        for entry in types {
            let update = self.resources.on_response(response(entry)?);
            let update = update.map_err(|malformed| StoreError::Inconsistent(malformed.to_string()))?;
            if update.kind == ResourceType::Names {
                update.removed.iter().for_each(|name| drop(self.names.remove(&**name)));
            }
            let names = update.names.into_iter();
            self.names.extend(names.map(|Name { host, vip, needs }| (host, Target { vip, needs })));
        }
        Ok(())
    }

    fn is_answered(&mut self, host: String) -> Result<(), StoreError> {
        if self.answered.contains(&host) {
            return Err(StoreError::Inconsistent(format!("the name {host:?} is answered twice")));
        }
        self.answered.insert(host);
        Ok(())
    }

    fn into_stored(mut self) -> Result<Stored, StoreError> {
        let answered = self.answered.iter().map(|host| {
            let target = self.names.remove_entry(host.as_str());
            target.ok_or_else(|| StoreError::Inconsistent(format!("the name {host:?} is answered, but is not known")))
        });
        let answered = answered.collect::<Result<_, _>>()?;
        let (answered, waiting) = (Arc::new(answered), Arc::new(self.names));
        Ok(Stored { resources: self.resources, answered, waiting, table: self.table })
    }
}

fn file_type<'r>(kind: ResourceType, resources: impl Iterator<Item = &'r Arc<Resource>>) -> FileType {
    let resource = |resource: &Arc<Resource>| FileResource {
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        body: resource.body.clone(),
    };
    FileType { url: kind.url().to_owned(), resources: resources.map(resource).collect(), removed: Vec::new() }
}

/// Those of some names that others do not have. Most changes leave all of them as they are, and the same value.
fn names_without(some: &Arc<Targets>, others: &Arc<Targets>) -> Vec<String> {
    if Arc::ptr_eq(some, others) {
        return Vec::new();
    }
    some.keys().filter(|host| !others.contains_key(*host)).map(Hostname::to_string).collect()
}

fn type_change(kind: ResourceType, new: &Arc<ResourceMap>, old: &Arc<ResourceMap>) -> FileType {
    if Arc::ptr_eq(new, old) {
        return file_type(kind, [].iter());
    }
    let mut changed = Vec::new();
    compare(old, new, |old, new| changed.extend(new.or(old).map(|resource| &resource.name)));
    let resources = changed.iter().filter_map(|name| new.get(*name));
    let removed = changed.iter().filter(|name| !new.contains_key(**name)).map(ToString::to_string);
    FileType { removed: removed.collect(), ..file_type(kind, resources) }
}

fn response(FileType { url, resources, removed }: FileType) -> Result<ResponseFromPilot, StoreError> {
    let kind = ResourceType::from_url(&url).ok_or_else(|| StoreError::Inconsistent(format!("unknown type {url:?}")))?;
    let resource = |FileResource { name, version, body }| Resource { name: name.into(), version: version.into(), body };
    Ok(ResponseFromPilot {
        kind,
        nonce: String::new(),
        version: String::new(),
        resources: resources.into_iter().map(resource).collect(),
        removed: removed.into_iter().map(Arc::from).collect(),
        complete: true,
    })
}

fn content(octets: &Bytes) -> Result<Bytes, SealError> {
    match content_of_the_first_release(octets) {
        Some(content) => Ok(content),
        None => Ok(octets.slice_ref(FORMAT.unseal(octets)?)),
    }
}

/// An agent that is upgraded while the pilots are away has only this file to answer names from.
fn content_of_the_first_release(octets: &Bytes) -> Option<Bytes> {
    let (header, content) = octets.split_at_checked(FIRST_HEADER)?;
    let sealed = header.starts_with(FIRST_MAGIC) && header.ends_with(&Sha256::digest(content));
    sealed.then(|| octets.slice(FIRST_HEADER..))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
