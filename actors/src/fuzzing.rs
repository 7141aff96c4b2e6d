//! Functions for the fuzz targets: the readers of the files whose formats this crate defines.

use boshy_mesh::{Moment, Timestamp};

use crate::{clock::Stamp, kept_facts, lease_file};

/// Reads a file of leases and serializes the result; `None` when the file is refused.
pub fn leases(content: &[u8]) -> Option<Vec<u8>> {
    let stamp = Stamp { moment: Moment(1_000_000), boot: Some("boot".into()), wall: Timestamp(1_700_000_000) };
    Some(lease_file::seal(&lease_file::unseal(content, &stamp).ok()?, &stamp))
}

/// Reads a file of facts and serializes the result; `None` when the file is refused.
pub fn facts(content: &[u8]) -> Option<Vec<u8>> {
    Some(kept_facts::seal(&kept_facts::unseal(content).ok()?))
}
