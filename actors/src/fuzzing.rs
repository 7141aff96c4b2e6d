//! Functions for the fuzz targets: the readers of the files whose formats this crate defines.

use boshy_mesh::{Moment, Timestamp};

use crate::{certificate_authority, clock::Stamp, held_identity::Held, kept_facts, lease_file};

/// Reads a file of leases and serializes the result; `None` when the file is refused.
pub fn leases(content: &[u8]) -> Option<Vec<u8>> {
    let stamp = Stamp { moment: Moment(1_000_000), boot: Some("boot".into()), wall: Timestamp(1_700_000_000) };
    Some(lease_file::seal(&lease_file::unseal(content, &stamp).ok()?, &stamp))
}

/// Reads a file of facts and serializes the result; `None` when the file is refused.
pub fn facts(content: &[u8]) -> Option<Vec<u8>> {
    Some(kept_facts::seal(&kept_facts::unseal(content).ok()?))
}

/// Reads a file of the keys of VMs and serializes the result; `None` when the file is refused.
pub fn keys_of_vms(content: &[u8]) -> Option<Vec<u8>> {
    Some(certificate_authority::seal(&certificate_authority::unseal(content).ok()?))
}

/// Reads a file of a VM's own identity and serializes the result; `None` when the file is refused. What is held is
/// shown and handed to Envoy, too.
pub fn identity(content: &[u8]) -> Option<Vec<u8>> {
    let held = Held::unseal(content).ok()?;
    if let Some(issued) = held.issued() {
        let _shown = (issued.status(Timestamp(0)), issued.secrets());
    }
    Some(held.seal())
}
