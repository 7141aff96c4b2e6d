//! Settings of the mesh that a pilot sends its agents before anything else.
//!
//! They are in the headers of a stream's response: they are fixed while the pilot runs and concern no single resource,
//! and a peer that does not know them ignores them.

use std::fmt;

use boshy_mesh::{Tld, VipRange};
use serde::Serialize;
use tonic::{
    codegen::http::{HeaderMap, HeaderValue},
    metadata::MetadataMap,
};

const TLD: &str = "boshy-tld";
const VIP_RANGE: &str = "boshy-vip-range";
const AUTHORITY: &str = "boshy-authority";
const TABLE: &str = "boshy-table";

/// Settings that must be equal at pilot and agents, and what certificates come with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MeshTold {
    /// Zone of the mesh.
    pub tld: Tld,
    /// Range of virtual IPs.
    pub vip_range: VipRange,
    /// Fingerprint of the authority that issues certificates, and of all that comes with them. `None` without one.
    pub authority: Option<String>,
    /// Version of the table of leases that pilots share, counted from 1; 0 while the pilot has published none. `None` from
    /// a pilot with a table of its own, and from an older one.
    pub table: Option<u64>,
}

impl MeshTold {
    /// Parses the headers; `None` when they are missing.
    pub(crate) fn read(headers: &MetadataMap) -> Option<Self> {
        let text = |key| headers.get(key).and_then(|value| value.to_str().ok());
        let (tld, vip_range) = (Tld::new(text(TLD)?).ok()?, VipRange::parse(text(VIP_RANGE)?).ok()?);
        let table = text(TABLE).and_then(|table| table.parse().ok());
        Some(Self { tld, vip_range, authority: text(AUTHORITY).map(str::to_owned), table })
    }

    /// Writes the headers.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let values: [(&'static str, &dyn fmt::Display); 2] = [(TLD, &self.tld), (VIP_RANGE, &self.vip_range)];
        let authority = self.authority.as_ref().map(|authority| (AUTHORITY, authority as &dyn fmt::Display));
        let table = self.table.as_ref().map(|table| (TABLE, table as &dyn fmt::Display));
        for (key, value) in values.into_iter().chain(authority).chain(table) {
            if let Ok(value) = HeaderValue::try_from(value.to_string()) {
                headers.insert(key, value);
            }
        }
    }

    /// Describes the differences from the local settings in a sentence; `None` when there are none.
    pub fn difference(&self, tld: &Tld, vip_range: VipRange) -> Option<String> {
        let differs = |key, own: &dyn fmt::Display, other: &dyn fmt::Display| {
            format!("`{key}` is {own} here and {other} at the pilot")
        };
        let parts = [
            (self.tld != *tld).then(|| differs("tld", tld, &self.tld)),
            (self.vip_range != vip_range).then(|| differs("vip_range", &vip_range, &self.vip_range)),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> MeshTold {
        let (tld, vip_range) = (Tld::new("mesh").unwrap(), VipRange::parse("10.200.0.0/16").unwrap());
        MeshTold { tld, vip_range, authority: None, table: None }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_there_is_nothing() {
        let mut told = told();
        for (authority, table) in [(None, None), (Some("a".repeat(64)), Some(7))] {
            (told.authority, told.table) = (authority, table);
            let mut headers = HeaderMap::new();
            told.write(&mut headers);
            assert_eq!(MeshTold::read(&MetadataMap::from_headers(headers)), Some(told.clone()));
            assert_eq!(MeshTold::read(&MetadataMap::new()), None);
        }
    }

    #[test]
    fn only_what_differs_is_told() {
        let told = told();
        assert_eq!(told.difference(&told.tld, told.vip_range), None);
        let range = VipRange::parse("10.201.0.0/16").unwrap();
        let difference = told.difference(&told.tld, range).unwrap();
        assert_eq!(difference, "`vip_range` is 10.201.0.0/16 here and 10.200.0.0/16 at the pilot");
        assert!(told.difference(&Tld::default(), range).unwrap().contains("`tld` is boshy here and mesh at the pilot"));
    }
}
