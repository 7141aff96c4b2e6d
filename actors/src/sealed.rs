//! State files of the pilot: one line of magic, format and checksum, then JSON.
//!
//! A file that does not match its checksum, or that a newer boshy wrote, is refused and not replaced. For leases this
//! is a guarantee: a table that silently starts empty could give an address to another service while clients still hold
//! it.

use std::net::Ipv4Addr;

use boshy_mesh::{Hostname, Inventory, LabelError};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

const FORMAT: &str = "1";

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// It does not begin with the file's magic.
    #[error("is no {0} file")]
    Foreign(&'static str),
    /// A newer boshy wrote it.
    #[error("has format {0}, this boshy reads format {FORMAT}")]
    Newer(String),
    /// It is damaged.
    #[error("does not match its checksum")]
    Checksum,
    /// The checksum is right but the content is not: a bug of the writer.
    #[error("has content that makes no sense")]
    Content(#[source] serde_json::Error),
    /// A name is not a mesh name.
    #[error("holds a name that is none")]
    Name(#[source] LabelError),
    /// Two names have the same address.
    #[error("gives one address to both {0} and {1}")]
    Shared(Hostname, Hostname),
    /// One name has two addresses.
    #[error("gives {0} both {a} and {b}", a = .1[0], b = .1[1])]
    Twice(Hostname, [Ipv4Addr; 2]),
}

/// A value with its own file format.
pub(crate) trait Sealed: Sized {
    /// Encodes the value as a file.
    fn seal(&self) -> Vec<u8>;

    /// Decodes the value from a file.
    ///
    /// # Errors
    /// When the file is foreign, newer, damaged or inconsistent.
    fn unseal(content: &[u8]) -> Result<Self, SealError>;
}

impl Sealed for Inventory {
    fn seal(&self) -> Vec<u8> {
        seal("boshy-inventory", self)
    }

    fn unseal(content: &[u8]) -> Result<Self, SealError> {
        unseal("boshy-inventory", content)
    }
}

pub(crate) fn seal(magic: &str, value: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_string_pretty(value).expect("maps with text keys, numbers and texts are always JSON");
    format!("{magic} {FORMAT} {}\n{body}\n", checksum(&body)).into_bytes()
}

pub(crate) fn unseal<T: DeserializeOwned>(magic: &'static str, content: &[u8]) -> Result<T, SealError> {
    let text = std::str::from_utf8(content).map_err(|_| SealError::Foreign(magic))?;
    let (head, body) = text.split_once('\n').ok_or(SealError::Foreign(magic))?;
    let [found, format, sum] = head.split(' ').collect::<Vec<_>>()[..] else { return Err(SealError::Foreign(magic)) };
    if found != magic {
        return Err(SealError::Foreign(magic));
    }
    if format != FORMAT {
        return Err(SealError::Newer(format.to_owned()));
    }
    let body = body.strip_suffix('\n').ok_or(SealError::Checksum)?;
    if sum != checksum(body) {
        return Err(SealError::Checksum);
    }
    serde_json::from_str(body).map_err(SealError::Content)
}

fn checksum(body: &str) -> String {
    Sha256::digest(body).iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use boshy_mesh::{Address, Deployment, Instance, InstanceGroup, Job, Port, PortName, Protocol};

    use super::*;

    fn inventory() -> Inventory {
        let port = Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp };
        let job = Job { name: "api".into(), ports: vec![port], runtime_config: None };
        let group = InstanceGroup { name: "web".into(), jobs: vec![job], ..InstanceGroup::default() };
        let instance = Instance {
            group: "web".into(),
            index: Some(0),
            id: "id".into(),
            az: None,
            ips: vec![Address::parse("10.20.0.16/28").unwrap()],
            expects_vm: true,
            since: 7,
            ..Instance::default()
        };
        let shop =
            Deployment { name: "shop".into(), groups: vec![group], instances: vec![instance], ..Deployment::default() };
        Inventory { deployments: vec![shop], ..Inventory::default() }
    }

    #[test]
    fn an_inventory_comes_back_as_it_was_and_is_nothing_else() {
        assert_eq!(Inventory::unseal(&inventory().seal()).unwrap(), inventory());
        let other = unseal::<Inventory>("boshy-leases", &inventory().seal());
        assert!(matches!(other, Err(SealError::Foreign("boshy-leases"))));
    }

    #[test]
    fn any_changed_octet_is_noticed() {
        let good = inventory().seal();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(Inventory::unseal(&bad).is_err(), "octet {index}");
        }
        assert!(matches!(Inventory::unseal(&good[..good.len() - 1]), Err(SealError::Checksum)));
    }

    #[test]
    fn a_newer_format_is_named() {
        let newer = b"boshy-inventory 2 x\n[]\n";
        assert!(matches!(Inventory::unseal(newer), Err(SealError::Newer(format)) if format == "2"));
    }
}
