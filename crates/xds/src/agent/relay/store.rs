//! The state that the agent keeps across a restart: the content of its state file, and the seal.
//!
//! The content is the protobuf message `File`.

use std::sync::Arc;

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
    answered: Targets,
    waiting: Targets,
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
}

#[derive(Clone, PartialEq, Message)]
struct FileType {
    #[prost(string, tag = "1")]
    url: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<FileResource>,
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
    pub(super) fn of(resources: DeltaClient, Gate { answered, waiting, .. }: Gate) -> Self {
        Self { resources, answered, waiting }
    }

    pub(super) fn into_parts(self) -> (DeltaClient, Gate) {
        (self.resources, Gate::new(self.answered, self.waiting))
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

    /// Encodes the state.
    pub fn encode(&self) -> Bytes {
        let known = ResourceType::ALL.into_iter().filter(|kind| self.resources.is_known(*kind));
        let file = File {
            types: known.map(|kind| file_type(kind, self.resources.held(kind))).collect(),
            answered: self.answered.keys().map(Hostname::to_string).collect(),
        };
        FORMAT.seal(&file.encode_to_vec()).into()
    }

    /// Decodes a file that [`Stored::encode`] of this or an earlier boshy wrote. Bodies share the given bytes.
    ///
    /// # Errors
    /// For any other input; see [`StoreError`].
    pub fn decode(octets: &Bytes) -> Result<Self, StoreError> {
        let file = File::decode(content(octets)?).map_err(StoreError::Protobuf)?;
        let mut resources = DeltaClient::default();
        let mut names = Targets::new();
        // Another version may serve more types. The first one stored routes, of which there never were any.
        let is_empty = |entry: &FileType| entry.resources.is_empty() && ResourceType::from_url(&entry.url).is_none();
        for entry in file.types.into_iter().filter(|entry| !is_empty(entry)) {
            let update = resources
                .on_response(response(entry)?)
                .map_err(|malformed| StoreError::Inconsistent(malformed.to_string()))?;
            names.extend(update.names.into_iter().map(|Name { host, vip, needs }| (host, Target { vip, needs })));
        }
        let answered = file
            .answered
            .into_iter()
            .map(|host| {
                names.remove_entry(host.as_str()).ok_or_else(|| {
                    StoreError::Inconsistent(format!("the name {host:?} is answered, but is not known or occurs twice"))
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { resources, answered, waiting: names })
    }
}

fn file_type(kind: ResourceType, resources: &ResourceMap) -> FileType {
    let resource = |resource: &Arc<Resource>| FileResource {
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        body: resource.body.clone(),
    };
    FileType { url: kind.url().to_owned(), resources: resources.values().map(resource).collect() }
}

fn response(FileType { url, resources }: FileType) -> Result<ResponseFromPilot, StoreError> {
    let kind = ResourceType::from_url(&url).ok_or_else(|| StoreError::Inconsistent(format!("unknown type {url:?}")))?;
    let resource = |FileResource { name, version, body }| Resource { name: name.into(), version: version.into(), body };
    Ok(ResponseFromPilot {
        kind,
        nonce: String::new(),
        version: String::new(),
        resources: resources.into_iter().map(resource).collect(),
        removed: Vec::new(),
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
