//! State files of the pilot: one line of magic, format and checksum, then JSON.
//!
//! A file that does not match its checksum, or that a newer boshy wrote, is refused and not replaced. For leases that is a
//! promise: a table that is silently begun afresh could give an address to another service while clients still hold it.

use boshy_mesh::{Hostname, Inventory, LabelError, Lease, Leases};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

const FORMAT: &str = "1";

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// It does not begin as such a file does.
    #[error("is no {0} file")]
    Foreign(&'static str),
    /// A newer boshy wrote it.
    #[error("has format {0}, this boshy reads format {FORMAT}")]
    Newer(String),
    /// Damaged.
    #[error("does not match its checksum")]
    Checksum,
    /// The checksum is right and the content is not: a bug of who wrote it.
    #[error("has content that makes no sense")]
    Content(#[source] serde_json::Error),
    /// A name that is no mesh name.
    #[error("holds a name that is none")]
    Name(#[source] LabelError),
    /// Two names, one address.
    #[error("gives one address to both {0} and {1}")]
    Shared(Hostname, Hostname),
}

/// A value with a file format of its own.
pub(crate) trait Sealed: Sized {
    /// As a file.
    fn seal(&self) -> Vec<u8>;

    /// From a file.
    ///
    /// # Errors
    /// When the file is foreign, newer, damaged or contradicts itself.
    fn unseal(content: &[u8]) -> Result<Self, SealError>;
}

#[derive(Deserialize, Serialize)]
struct LeaseEntry {
    host: String,
    #[serde(flatten)]
    lease: Lease,
}

impl Sealed for Leases {
    fn seal(&self) -> Vec<u8> {
        let entry = |(host, lease): (&Hostname, &Lease)| LeaseEntry { host: host.to_string(), lease: *lease };
        seal("boshy-leases", &self.iter().map(entry).collect::<Vec<_>>())
    }

    fn unseal(content: &[u8]) -> Result<Self, SealError> {
        let entries: Vec<LeaseEntry> = unseal("boshy-leases", content)?;
        let leases = entries
            .into_iter()
            .map(|entry| Ok((Hostname::parse(&entry.host).map_err(SealError::Name)?, entry.lease)))
            .collect::<Result<Vec<_>, SealError>>()?;
        Self::restore(leases).map_err(|(one, other)| SealError::Shared(one, other))
    }
}

impl Sealed for Inventory {
    fn seal(&self) -> Vec<u8> {
        seal("boshy-inventory", self)
    }

    fn unseal(content: &[u8]) -> Result<Self, SealError> {
        unseal("boshy-inventory", content)
    }
}

fn seal(magic: &str, value: &impl Serialize) -> Vec<u8> {
    let body = serde_json::to_string_pretty(value).expect("maps with text keys, numbers and texts are always JSON");
    format!("{magic} {FORMAT} {}\n{body}\n", checksum(&body)).into_bytes()
}

fn unseal<T: DeserializeOwned>(magic: &'static str, content: &[u8]) -> Result<T, SealError> {
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
    use std::{collections::BTreeSet, time::Duration};

    use boshy_mesh::{
        Address, Deployment, Instance, InstanceGroup, Job, Port, PortName, Protocol, Timestamp, VipRange,
    };

    use super::*;

    fn table() -> Leases {
        let host = |name: &str| Hostname::parse(name).unwrap();
        let both = BTreeSet::from([host("a.b.c.boshy"), host("d.e.f.boshy")]);
        let one = BTreeSet::from([host("a.b.c.boshy")]);
        let range = VipRange::default();
        let hour = Duration::from_secs(3600);
        let first = Leases::default().reconcile(&both, range, Timestamp(1), hour).leases;
        first.reconcile(&one, range, Timestamp(2), hour).leases
    }

    #[test]
    fn a_table_comes_back_as_it_was_with_what_rests() {
        assert_eq!(Leases::unseal(&table().seal()).unwrap(), table());
        assert_eq!(table().iter().len(), 2);
    }

    #[test]
    fn an_inventory_comes_back_as_it_was() {
        let port = Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp };
        let job = Job { name: "api".into(), ports: vec![port] };
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
        let inventory = Inventory { deployments: vec![shop], ..Inventory::default() };
        assert_eq!(Inventory::unseal(&inventory.seal()).unwrap(), inventory);
        assert!(matches!(Leases::unseal(&inventory.seal()), Err(SealError::Foreign("boshy-leases"))));
    }

    #[test]
    fn any_changed_octet_is_noticed() {
        let good = table().seal();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(Leases::unseal(&bad).is_err(), "octet {index}");
        }
        assert!(matches!(Leases::unseal(&good[..good.len() - 1]), Err(SealError::Checksum)));
    }

    #[test]
    fn a_newer_format_is_named() {
        let newer = b"boshy-leases 2 x\n[]\n";
        assert!(matches!(Leases::unseal(newer), Err(SealError::Newer(format)) if format == "2"));
    }
}
