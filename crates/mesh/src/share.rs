//! Limits how many virtual IPs one deployment may take, so that some are left for others.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Every deployment may have one part in this many of the range, whatever the others have.
const FLOOR: u64 = 16;

/// A number that is not a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a percentage from 1 to 100, is {0}")]
pub struct ShareError(u64);

/// The share of a deployment, in percent of what the other deployments leave.
///
/// It is a share of the rest, not of the whole, so that there is always a rest. With one half, a first deployment that
/// takes its maximum gets 127 addresses of 254, a second 64, a third 32. Two that ask at the same time get a third
/// each. Every deployment may have a sixteenth of the range, so that an ordinary deployment does not notice the rule in
/// a range that is nearly full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct VipShare(u8);

impl VipShare {
    /// Takes a percentage.
    ///
    /// # Errors
    /// When it is not from 1 to 100.
    pub fn percent(written: u64) -> Result<Self, ShareError> {
        match u8::try_from(written) {
            Ok(percent @ 1..=100) => Ok(Self(percent)),
            _ => Err(ShareError(written)),
        }
    }

    /// The number of addresses that one deployment may have in a range of `capacity`, of which the others have
    /// `others`.
    pub fn limit(self, capacity: u64, others: u64) -> u64 {
        let left = capacity.saturating_sub(others);
        (left * u64::from(self.0)).div_ceil(100).max(capacity / FLOOR).max(1)
    }
}

impl Default for VipShare {
    fn default() -> Self {
        Self(50)
    }
}

impl fmt::Display for VipShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} percent", self.0)
    }
}

impl TryFrom<u64> for VipShare {
    type Error = ShareError;
    fn try_from(written: u64) -> Result<Self, ShareError> {
        Self::percent(written)
    }
}

impl From<VipShare> for u64 {
    fn from(share: VipShare) -> Self {
        share.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_rest_and_an_ordinary_deployment_does_not_notice() {
        let half = VipShare::default();
        assert_eq!(half.limit(254, 0), 127);
        assert_eq!(half.limit(254, 127), 64);
        assert_eq!(half.limit(254, 250), 15);
        assert_eq!(half.limit(2, 1), 1);
        assert_eq!(VipShare::percent(100).unwrap().limit(254, 54), 200);
    }

    #[test]
    fn a_share_is_a_percentage() {
        assert!(VipShare::percent(0).is_err());
        assert_eq!(VipShare::percent(101).unwrap_err().to_string(), "must be a percentage from 1 to 100, is 101");
    }
}
