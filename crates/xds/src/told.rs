//! Settings of the mesh that a pilot sends its agents before anything else.
//!
//! They are in the headers of a stream's response: they are fixed while the pilot runs and concern no single resource,
//! and a peer that does not know them ignores them.

use std::fmt;

use boshy_mesh::{Tld, VipRange};
use serde::Serialize;
use tonic::metadata::{MetadataMap, MetadataValue};

const TLD: &str = "boshy-tld";
const VIP_RANGE: &str = "boshy-vip-range";

/// Settings that must be equal at pilot and agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MeshTold {
    /// Zone of the mesh.
    pub tld: Tld,
    /// Range of virtual IPs.
    pub vip_range: VipRange,
}

impl MeshTold {
    /// Parses the headers; `None` when they are missing.
    pub(crate) fn read(headers: &MetadataMap) -> Option<Self> {
        let text = |key| headers.get(key).and_then(|value| value.to_str().ok());
        Some(Self { tld: Tld::new(text(TLD)?).ok()?, vip_range: VipRange::parse(text(VIP_RANGE)?).ok()? })
    }

    /// Writes the headers.
    pub(crate) fn write(&self, headers: &mut MetadataMap) {
        let values: [(&'static str, &dyn fmt::Display); 2] = [(TLD, &self.tld), (VIP_RANGE, &self.vip_range)];
        for (key, value) in values {
            if let Ok(value) = MetadataValue::try_from(value.to_string()) {
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

    #[test]
    fn what_is_written_is_read_and_what_is_not_there_is_nothing() {
        let told = MeshTold { tld: Tld::new("mesh").unwrap(), vip_range: VipRange::parse("10.200.0.0/16").unwrap() };
        let mut headers = MetadataMap::new();
        assert_eq!(MeshTold::read(&headers), None);
        told.write(&mut headers);
        assert_eq!(MeshTold::read(&headers), Some(told));
    }

    #[test]
    fn only_what_differs_is_told() {
        let told = MeshTold { tld: Tld::new("mesh").unwrap(), vip_range: VipRange::parse("10.200.0.0/16").unwrap() };
        assert_eq!(told.difference(&told.tld, told.vip_range), None);
        let range = VipRange::parse("10.201.0.0/16").unwrap();
        let difference = told.difference(&told.tld, range).unwrap();
        assert_eq!(difference, "`vip_range` is 10.201.0.0/16 here and 10.200.0.0/16 at the pilot");
        assert!(told.difference(&Tld::default(), range).unwrap().contains("`tld` is boshy here and mesh at the pilot"));
    }
}
