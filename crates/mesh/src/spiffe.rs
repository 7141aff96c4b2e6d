//! SPIFFE names of workloads: who is at the other end of a connection.
//!
//! A certificate names a workload twice. Its URI SAN, [`SpiffeId`], names the instance group: policies name groups, and
//! it is the only form that Istio and ztunnel parse. Its DNS SAN, [`TrustDomain::instance_name`], names the instance:
//! a connection checks that it has reached the very instance that it asked for.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::Workload;

/// How every SPIFFE id begins (SPIFFE-ID, section 2).
const SCHEME: &str = "spiffe://";
/// Maximum length of a SPIFFE id in octets (SPIFFE-ID, section 2.3).
const LONGEST_ID: usize = 2048;
/// Maximum length of a trust domain in octets (SPIFFE-ID, section 2.1), less than 255 so that the name of an instance
/// is a DNS name as well: 36 octets of a uuid and a dot come before it.
const LONGEST_DOMAIN: usize = 253 - 37;

/// Why a name is no SPIFFE name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not a trust domain.
    #[error(
        "{0:?} is no trust domain: at most {LONGEST_DOMAIN} lower-case letters, digits, dots and dashes, in labels as \
         in a DNS name"
    )]
    Domain(String),
    /// Not an id of Istio's form.
    #[error("{0:?} is no identity of the form spiffe://TRUST_DOMAIN/ns/DEPLOYMENT/sa/GROUP")]
    Form(String),
    /// A deployment, group or instance whose name cannot be written in an identity.
    #[error("{what} {name:?} cannot have an identity: SPIFFE allows letters, digits, dots, dashes and underscores")]
    Segment {
        /// What has the name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// An id that is too long.
    #[error("an identity of {0} octets is too long: at most {LONGEST_ID} are allowed")]
    Long(usize),
}

/// The name of all identities that share one root of trust, such as `boshy`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a trust domain (SPIFFE-ID, section 2.1).
    ///
    /// # Errors
    /// When it is not made of DNS labels in lower case, or is too long.
    pub fn parse(written: &str) -> Result<Self, SpiffeError> {
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if written.len() <= LONGEST_DOMAIN && written.split('.').all(is_label) {
            Ok(Self(written.into()))
        } else {
            Err(SpiffeError::Domain(written.to_owned()))
        }
    }

    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The DNS SAN of an instance, `INSTANCE-ID.TRUST_DOMAIN`.
    ///
    /// # Errors
    /// When the id cannot be a DNS label. A director's ids are uuids.
    pub fn instance_name(&self, id: &str) -> Result<String, SpiffeError> {
        let fits = (1..=36).contains(&id.len())
            && !id.starts_with('-')
            && !id.ends_with('-')
            && id.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits {
            Ok(format!("{id}.{}", self.0))
        } else {
            Err(SpiffeError::Segment { what: "instance", name: id.to_owned() })
        }
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self("boshy".into())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = SpiffeError;
    fn try_from(written: String) -> Result<Self, SpiffeError> {
        Self::parse(&written)
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0.as_ref().to_owned()
    }
}

/// The identity of an instance group: `spiffe://TRUST_DOMAIN/ns/DEPLOYMENT/sa/GROUP`. The deployment stands where
/// Kubernetes has the namespace, the group where it has the service account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    domain: TrustDomain,
    deployment: String,
    group: String,
}

impl SpiffeId {
    /// The identity of a group. Names are taken as the manifest writes them, so that two groups never share one.
    ///
    /// # Errors
    /// When a name has a character that SPIFFE does not allow, or the id is too long.
    pub fn new(domain: &TrustDomain, deployment: &str, group: &str) -> Result<Self, SpiffeError> {
        for (what, name) in [("deployment", deployment), ("instance group", group)] {
            if !is_segment(name) {
                return Err(SpiffeError::Segment { what, name: name.to_owned() });
            }
        }
        let id = Self { domain: domain.clone(), deployment: deployment.to_owned(), group: group.to_owned() };
        let length = id.to_string().len();
        if length > LONGEST_ID { Err(SpiffeError::Long(length)) } else { Ok(id) }
    }

    /// The identity of a workload's group.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn of(domain: &TrustDomain, workload: &Workload) -> Result<Self, SpiffeError> {
        Self::new(domain, &workload.deployment, &workload.group)
    }

    /// The identity as Istio's policies write it, without `spiffe://`.
    pub fn principal(&self) -> String {
        let Self { domain, deployment, group } = self;
        format!("{domain}/ns/{deployment}/sa/{group}")
    }

    /// Parses what [`principal`](Self::principal) returns.
    ///
    /// # Errors
    /// When it is not an identity of Istio's form without its beginning.
    pub fn from_principal(written: &str) -> Result<Self, SpiffeError> {
        format!("{SCHEME}{written}").parse()
    }

    /// Its trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// Its deployment, Istio's namespace.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// Its instance group, Istio's service account.
    pub fn group(&self) -> &str {
        &self.group
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/ns/{}/sa/{}", self.domain, self.deployment, self.group)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(written: &str) -> Result<Self, SpiffeError> {
        let malformed = || SpiffeError::Form(written.to_owned());
        let mut parts = written.strip_prefix(SCHEME).ok_or_else(malformed)?.split('/');
        let parts = [(); 5].map(|()| parts.next()).into_iter().chain([parts.next()]).collect::<Vec<_>>();
        match parts[..] {
            [Some(domain), Some("ns"), Some(deployment), Some("sa"), Some(group), None] => {
                Self::new(&TrustDomain::parse(domain)?, deployment, group)
            }
            _ => Err(malformed()),
        }
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = SpiffeError;
    fn try_from(written: String) -> Result<Self, SpiffeError> {
        written.parse()
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.to_string()
    }
}

/// A path segment (SPIFFE-ID, section 2.2).
fn is_segment(name: &str) -> bool {
    let is_allowed = |octet| matches!(octet, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    !name.is_empty() && name != "." && name != ".." && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> TrustDomain {
        TrustDomain::default()
    }

    #[test]
    fn a_group_has_one_identity_and_it_parses_back() {
        let id = SpiffeId::new(&domain(), "sample-deployment", "Banana_1").unwrap();
        assert_eq!(id.to_string(), "spiffe://boshy/ns/sample-deployment/sa/Banana_1");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn names_that_spiffe_does_not_allow_are_refused_and_not_rewritten() {
        for name in ["", ".", "..", "a b", "a/b", "a%20b", "é", "a:b", "a~b"] {
            let error = SpiffeId::new(&domain(), name, "banana").unwrap_err();
            assert_eq!(error, SpiffeError::Segment { what: "deployment", name: name.into() });
            assert!(SpiffeId::new(&domain(), "d", name).unwrap_err().to_string().contains("instance group"));
        }
        let long = "a".repeat(LONGEST_ID);
        assert!(matches!(SpiffeId::new(&domain(), &long, "b"), Err(SpiffeError::Long(_))));
    }

    #[test]
    fn only_istios_form_is_an_identity() {
        for text in [
            "",
            "boshy/ns/d/sa/g",
            "spiffe://",
            "spiffe://boshy",
            "spiffe://boshy/ns/d/sa",
            "spiffe://boshy/ns/d/sa/",
            "spiffe://boshy/ns//sa/g",
            "spiffe://boshy/ns/d/sa/g/",
            "spiffe://boshy/ns/d/sa/g/x",
            "spiffe://boshy/sa/g/ns/d",
            "spiffe://Boshy/ns/d/sa/g",
            "https://boshy/ns/d/sa/g",
            "spiffe://boshy:1/ns/d/sa/g",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_trust_domain_is_a_dns_name_in_lower_case() {
        for good in ["boshy", "cluster.local", "a-1.b", &["a"; 100].join(".")] {
            assert_eq!(TrustDomain::parse(good).unwrap().as_str(), good);
        }
        for bad in
            ["", ".", "a.", ".a", "a..b", "A", "a_b", "-a", "a-", "a/b", "a:1", &"a".repeat(64), &["a"; 120].join(".")]
        {
            assert!(TrustDomain::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_instance_has_a_dns_name() {
        let uuid = "8f6b5b0e-7a5e-4d57-9c0b-2f3a6e1d4c21";
        assert_eq!(domain().instance_name(uuid).unwrap(), format!("{uuid}.boshy"));
        for bad in ["", "a.b", "A", "-a", "a_b", &"a".repeat(37)] {
            assert!(domain().instance_name(bad).is_err(), "{bad}");
        }
    }
}
