//! Encoding of the state that the agent keeps across a restart.
//!
//! ```text
//!   magic (8) | format (4) | payload length (8) | SHA-256 of the payload (32) | payload: protobuf message `File`
//! ```
//! Numbers are big endian. A file is accepted as a whole or not at all, because half a configuration is worse than
//! none. How the file is written, so that a power cut leaves either the old or the new one, is not decided here.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use boshy_mesh::{Hostname, NameTable};
use bytes::{Bytes, BytesMut};
use prost::Message;
use sha2::{Digest, Sha256};

use super::gate::Gate;
use crate::{
    Resource, ResourceMap, ResourceType,
    session::client::{DeltaClient, ResponseFromPilot},
};

const MAGIC: &[u8; 8] = b"BOSHYVM\n";
const FORMAT: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 32;

/// Resources that Envoy accepted or that were not judged, and the answered names: all that a VM needs to work without a
/// pilot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    resources: DeltaClient,
    answered: BTreeMap<Hostname, Ipv4Addr>,
    waiting: BTreeMap<Hostname, Ipv4Addr>,
}

/// Why bytes are not a stored state.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another program's file.
    #[error("the file does not begin as a stored state does")]
    Foreign,
    /// The file of a later version.
    #[error("the file has format {found}; this version reads format {FORMAT}")]
    Newer {
        /// Format of the file.
        found: u32,
    },
    /// The length differs from the header.
    #[error("the file has {found} octets, and {expected} by its header")]
    Length {
        /// Length by the header.
        expected: u64,
        /// Actual length.
        found: u64,
    },
    /// The checksum does not match.
    #[error("the file is corrupt: its checksum does not match")]
    Corrupt,
    /// The payload is not the expected message.
    #[error("decoding the stored state")]
    Protobuf(#[source] prost::DecodeError),
    /// The payload is inconsistent.
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
        self.answered.iter().map(|(host, vip)| (host.clone(), *vip)).collect()
    }

    /// The names that wait for Envoy.
    pub fn waiting(&self) -> NameTable {
        self.waiting.iter().map(|(host, vip)| (host.clone(), *vip)).collect()
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
        let payload = file.encode_to_vec();
        let mut octets = BytesMut::with_capacity(HEADER + payload.len());
        octets.extend_from_slice(MAGIC);
        octets.extend_from_slice(&FORMAT.to_be_bytes());
        octets.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        octets.extend_from_slice(&Sha256::digest(&payload));
        octets.extend_from_slice(&payload);
        octets.freeze()
    }

    /// Decodes the output of [`Stored::encode`]. Bodies share the given bytes.
    ///
    /// # Errors
    /// For any other input; see [`StoreError`].
    pub fn decode(octets: &Bytes) -> Result<Self, StoreError> {
        let file = File::decode(payload(octets)?).map_err(StoreError::Protobuf)?;
        let mut resources = DeltaClient::default();
        let mut names = BTreeMap::new();
        for entry in file.types {
            let update = resources
                .on_response(response(entry)?)
                .map_err(|malformed| StoreError::Inconsistent(malformed.to_string()))?;
            names.extend(update.names);
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

/// Checks the header and returns the payload.
fn payload(octets: &Bytes) -> Result<Bytes, StoreError> {
    let length = |expected| StoreError::Length { expected, found: octets.len() as u64 };
    if !octets.starts_with(MAGIC) {
        return Err(if MAGIC.starts_with(octets) { length(HEADER as u64) } else { StoreError::Foreign });
    }
    let rest = &octets[MAGIC.len()..];
    let (format, rest) = rest.split_first_chunk().ok_or_else(|| length(HEADER as u64))?;
    match u32::from_be_bytes(*format) {
        FORMAT => {}
        0 => return Err(StoreError::Foreign),
        found => return Err(StoreError::Newer { found }),
    }
    let (size, rest) = rest.split_first_chunk().ok_or_else(|| length(HEADER as u64))?;
    let size = u64::from_be_bytes(*size);
    let (digest, rest) = rest.split_first_chunk::<32>().ok_or_else(|| length(HEADER as u64))?;
    if rest.len() as u64 != size {
        return Err(length(size.saturating_add(HEADER as u64)));
    }
    if Sha256::digest(rest)[..] != digest[..] {
        return Err(StoreError::Corrupt);
    }
    Ok(octets.slice(HEADER..))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
