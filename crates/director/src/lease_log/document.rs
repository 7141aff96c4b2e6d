//! A row as the text of a config: YAML, written as indented JSON, so that `bosh diff-config` shows what changed.

use std::{collections::BTreeMap, net::Ipv4Addr};

use boshy_agreement::{Phase, Row};
use boshy_mesh::{AgreedLease, Hostname, LabelError, LeaseTable, Origin};
use boshy_yaml::{Limits, YamlError};
use serde::{Deserialize, Serialize};

/// Version of the format.
const FORMAT: u32 = 1;

/// Why a text is not a row.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not YAML, or has other keys.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// It was written by a later release.
    #[error("has the format {0}, which a later release of boshy writes; this one reads format {FORMAT}")]
    Newer(u32),
    /// A name is not a mesh name.
    #[error("holds a name that is none")]
    Name(#[from] LabelError),
    /// An address is listed twice.
    #[error("lists the address {0} twice")]
    Twice(Ipv4Addr),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    slot: u64,
    round: u32,
    phase: WrittenPhase,
    writer: String,
    leases: Vec<WrittenLease>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenPhase {
    Propose,
    Commit,
    Adopt,
    Decide,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WrittenLease {
    vip: Ipv4Addr,
    host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Origin>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    released: bool,
}

/// The text of a row. Equal rows have equal texts.
pub(super) fn written(row: &Row<LeaseTable>) -> String {
    let leases = row.value.iter().map(|(vip, lease)| WrittenLease {
        vip,
        host: lease.host.to_string(),
        owner: lease.owner.clone(),
        released: lease.released,
    });
    let document = Document {
        format: FORMAT,
        slot: row.slot,
        round: row.round,
        phase: row.phase.into(),
        writer: row.writer.clone(),
        leases: leases.collect(),
    };
    serde_json::to_string_pretty(&document).expect("strings and numbers are always JSON")
}

/// Parses the text of a row.
///
/// # Errors
/// When it is not the text of a row that this release writes.
pub(super) fn parse(text: &str) -> Result<Row<LeaseTable>, DocumentError> {
    let FormatOnly { format } = boshy_yaml::from_text(text, &Limits::default())?;
    if format != FORMAT {
        return Err(DocumentError::Newer(format));
    }
    let document: Document = boshy_yaml::from_text(text, &Limits::default())?;
    let mut leases = BTreeMap::new();
    for WrittenLease { vip, host, owner, released } in document.leases {
        let lease = AgreedLease { host: Hostname::parse(&host)?, owner, released };
        if leases.insert(vip, lease).is_some() {
            return Err(DocumentError::Twice(vip));
        }
    }
    let value = LeaseTable::new(leases);
    let Document { slot, round, writer, phase, .. } = document;
    Ok(Row { slot, round, writer, phase: phase.into(), value })
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl From<Phase> for WrittenPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Propose => Self::Propose,
            Phase::Commit => Self::Commit,
            Phase::Adopt => Self::Adopt,
            Phase::Decide => Self::Decide,
        }
    }
}

impl From<WrittenPhase> for Phase {
    fn from(phase: WrittenPhase) -> Self {
        match phase {
            WrittenPhase::Propose => Self::Propose,
            WrittenPhase::Commit => Self::Commit,
            WrittenPhase::Adopt => Self::Adopt,
            WrittenPhase::Decide => Self::Decide,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row<LeaseTable> {
        let owner = Origin { deployment: "shop".into(), group: "web".into(), job: "app".into() };
        let host = Hostname::parse("app.web.shop.boshy").unwrap();
        let held = AgreedLease { host: host.clone(), owner: Some(owner), released: false };
        let released = AgreedLease { host, owner: None, released: true };
        let leases = [([10, 0, 0, 1].into(), held), ([10, 0, 0, 2].into(), released)];
        Row { slot: 3, round: 1, writer: "pilot/0".into(), phase: Phase::Commit, value: LeaseTable::new(leases) }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        assert_eq!(parse(&written(&row())).unwrap(), row());
    }

    #[test]
    fn what_is_no_row_of_this_release_is_refused_with_its_reason() {
        let text = written(&row());
        for (broken, reason) in [
            (text.replace("\"format\": 1", "\"format\": 2"), "has the format 2, which a later release of boshy writes"),
            (text.replace("10.0.0.2", "10.0.0.1"), "lists the address 10.0.0.1 twice"),
            (text.replace("\"round\"", "\"rund\""), "unknown field `rund`"),
            (text.replace("commit", "veto"), "unknown variant `veto`"),
            (text.replace("app.web.shop.boshy", "not a name"), "holds a name that is none"),
            ("- a list".into(), "YAML line 1"),
        ] {
            let refused = parse(&broken).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
