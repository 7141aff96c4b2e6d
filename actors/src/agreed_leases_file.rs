//! The latest agreed table of leases, on a pilot's disk.

use std::{net::Ipv4Addr, path::Path};

use boshy_agreement::Decided;
use boshy_mesh::{AgreedLease, Hostname, LabelError, LeaseTable, Origin};
use boshy_state::{Format, ReadError, SealError, StateFileError};
use serde::{Deserialize, Serialize};

const FORMAT: Format = Format { name: "boshy-agreed-leases", version: 1 };

/// Why the file is refused. It is not replaced then: it may be all that is left of a table that was deleted elsewhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgreedFileError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the file holds a name that is none")]
    Name(#[from] LabelError),
}

#[derive(Deserialize, Serialize)]
struct Kept {
    slot: u64,
    leases: Vec<KeptLease>,
}

#[derive(Deserialize, Serialize)]
struct KeptLease {
    vip: Ipv4Addr,
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Origin>,
    released: bool,
}

/// Writes a table.
pub(crate) async fn write(file: &Path, decided: &Decided<LeaseTable>) -> Result<(), StateFileError> {
    let leases = decided.value.iter().map(|(vip, lease)| KeptLease {
        vip,
        host: lease.host.to_string(),
        owner: lease.owner.clone(),
        released: lease.released,
    });
    let sealed = FORMAT.seal_json(&Kept { slot: decided.slot, leases: leases.collect() });
    boshy_state::replace_in_time(file, move || sealed).await
}

/// Reads the table; `None` when there is no file.
pub(crate) async fn read(file: &Path) -> Result<Option<Decided<LeaseTable>>, ReadError<AgreedFileError>> {
    boshy_state::read(file, unseal).await
}

fn unseal(content: &[u8]) -> Result<Decided<LeaseTable>, AgreedFileError> {
    let Kept { slot, leases } = FORMAT.unseal_json(content)?;
    let leases = leases.into_iter().map(|KeptLease { vip, host, owner, released }| {
        Ok((vip, AgreedLease { host: Hostname::parse(&host)?, owner, released }))
    });
    let value = LeaseTable::new(leases.collect::<Result<Vec<_>, LabelError>>()?);
    Ok(Decided { slot, value })
}
