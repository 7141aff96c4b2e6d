//! The lease table as it stands on disk.
//!
//! One line `boshy-leases 1 CHECKSUM`, then JSON. A file that does not match its checksum, or that a newer boshy wrote, is
//! refused and not replaced: a table that is silently begun afresh could give an address to another service while clients still
//! hold it.

use boshy_mesh::{Hostname, LabelError, Lease, Leases};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MAGIC: &str = "boshy-leases";
const VERSION: &str = "1";

/// Why a lease file is refused.
#[derive(Debug, thiserror::Error)]
pub enum LeaseFileError {
    /// It does not begin as a lease file does.
    #[error("is no lease file")]
    Foreign,
    /// A newer boshy wrote it.
    #[error("has format {0}, this boshy reads format {VERSION}")]
    Version(String),
    /// Damaged.
    #[error("does not match its checksum")]
    Checksum,
    /// The checksum is right and the content is not: a bug of who wrote it.
    #[error("has content that is no lease table")]
    Content(#[source] serde_json::Error),
    /// A name that is no mesh name.
    #[error("holds a name that is none")]
    Name(#[source] LabelError),
    /// Two names, one address.
    #[error("gives one address to both {0} and {1}")]
    Shared(Hostname, Hostname),
}

#[derive(Deserialize, Serialize)]
struct Entry {
    host: String,
    #[serde(flatten)]
    lease: Lease,
}

/// Encodes a table.
pub fn encode(leases: &Leases) -> Vec<u8> {
    let entries: Vec<Entry> =
        leases.iter().map(|(host, lease)| Entry { host: host.to_string(), lease: *lease }).collect();
    let body = serde_json::to_string_pretty(&entries).expect("strings, addresses and numbers are always JSON");
    format!("{MAGIC} {VERSION} {}\n{body}\n", checksum(&body)).into_bytes()
}

/// Decodes a table.
///
/// # Errors
/// When the file is foreign, newer, damaged or contradicts itself.
pub fn decode(content: &[u8]) -> Result<Leases, LeaseFileError> {
    let text = std::str::from_utf8(content).map_err(|_| LeaseFileError::Foreign)?;
    let (head, body) = text.split_once('\n').ok_or(LeaseFileError::Foreign)?;
    let [MAGIC, version, sum] = head.split(' ').collect::<Vec<_>>()[..] else { return Err(LeaseFileError::Foreign) };
    if version != VERSION {
        return Err(LeaseFileError::Version(version.to_owned()));
    }
    let body = body.strip_suffix('\n').ok_or(LeaseFileError::Checksum)?;
    if sum != checksum(body) {
        return Err(LeaseFileError::Checksum);
    }
    let entries: Vec<Entry> = serde_json::from_str(body).map_err(LeaseFileError::Content)?;
    let leases = entries
        .into_iter()
        .map(|entry| Ok((Hostname::parse(&entry.host).map_err(LeaseFileError::Name)?, entry.lease)))
        .collect::<Result<Vec<_>, LeaseFileError>>()?;
    Leases::restore(leases).map_err(|(one, other)| LeaseFileError::Shared(one, other))
}

fn checksum(body: &str) -> String {
    Sha256::digest(body).iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use boshy_mesh::{Timestamp, VipRange};

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
        assert_eq!(decode(&encode(&table())).unwrap(), table());
        assert_eq!(table().iter().len(), 2);
    }

    #[test]
    fn any_changed_octet_is_noticed() {
        let good = encode(&table());
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert!(decode(&bad).is_err(), "octet {index}");
        }
        assert!(matches!(decode(&good[..good.len() - 1]), Err(LeaseFileError::Checksum)));
    }

    #[test]
    fn a_newer_format_is_named() {
        assert!(matches!(decode(b"boshy-leases 2 x\n[]\n"), Err(LeaseFileError::Version(version)) if version == "2"));
    }
}
