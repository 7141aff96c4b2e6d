//! Names as DNS sees them.
//!
//! BOSH canonicalises a name before it becomes a DNS label: it lowers the case, replaces `_` by `-`, and drops every
//! other character, dots included. The same rule is applied here, so that a mesh name and a BOSH DNS name of the same
//! group look alike.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;
/// Longest name in text form without the final dot: 255 octets on the wire (RFC 1035 section 2.3.4) less the length
/// octet of the first label and the root label.
const MAX_NAME: usize = 253;

/// Why a name cannot become part of a mesh name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing is left after canonicalisation, or the label starts or ends with a hyphen.
    #[error("{written:?} gives {canonical:?}, which is no DNS label (RFC 1123: letters, digits and inner hyphens)")]
    NoLabel {
        /// As written.
        written: String,
        /// After canonicalisation.
        canonical: String,
    },
    /// The name exceeds a limit of RFC 1035.
    #[error("{written:?} is too long: {length} octets, at most {limit}")]
    TooLong {
        /// As written.
        written: String,
        /// Its length in octets.
        length: usize,
        /// The limit in octets.
        limit: usize,
    },
}

/// One canonical DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// Canonicalises a BOSH name.
    ///
    /// # Errors
    /// When no valid DNS label is left, or the label is longer than 63 octets.
    pub fn canonical(written: &str) -> Result<Self, LabelError> {
        let canonical = canonical(written);
        if canonical.is_empty() || canonical.starts_with('-') || canonical.ends_with('-') {
            return Err(LabelError::NoLabel { written: written.to_owned(), canonical });
        }
        if canonical.len() > MAX_LABEL {
            return Err(LabelError::TooLong { written: written.to_owned(), length: canonical.len(), limit: MAX_LABEL });
        }
        Ok(Self(canonical))
    }
}

/// A name in the form that BOSH uses in DNS names. The result need not be a valid label.
pub(crate) fn canonical(written: &str) -> String {
    written
        .chars()
        .map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() })
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
        .collect()
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The mesh's own zone: one or more labels, `boshy` unless configured otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tld(Arc<str>);

impl Tld {
    /// Takes a zone as written, with or without a final dot.
    ///
    /// # Errors
    /// When a label is not canonical already: an operator chooses the zone, so it is rejected rather than changed.
    pub fn new(written: &str) -> Result<Self, LabelError> {
        let text = written.strip_suffix('.').unwrap_or(written);
        for part in text.split('.') {
            let label = Label::canonical(part)?;
            if label.0 != part {
                return Err(LabelError::NoLabel { written: written.to_owned(), canonical: label.0 });
            }
        }
        Ok(Self(text.into()))
    }

    /// The zone, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tld {
    fn default() -> Self {
        Self("boshy".into())
    }
}

impl fmt::Display for Tld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Tld {
    type Error = LabelError;
    fn try_from(written: String) -> Result<Self, LabelError> {
        Self::new(&written)
    }
}

impl From<Tld> for String {
    fn from(tld: Tld) -> Self {
        tld.0.as_ref().to_owned()
    }
}

/// The name of a service: `<job>.<instance group>.<deployment>.<tld>`, lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Hostname(Arc<str>);

impl Hostname {
    /// The name of a job's service.
    ///
    /// # Errors
    /// When a part is not a label, or the name is longer than DNS allows.
    pub fn of_service(job: &str, group: &str, deployment: &str, tld: &Tld) -> Result<Self, LabelError> {
        let name =
            format!("{}.{}.{}.{tld}", Label::canonical(job)?, Label::canonical(group)?, Label::canonical(deployment)?);
        Self::checked(name)
    }

    /// Parses a name that is canonical already, such as one read from disk or received from the pilot.
    ///
    /// # Errors
    /// When it is not canonical or too long.
    pub fn parse(name: &str) -> Result<Self, LabelError> {
        let zone = Tld::new(name)?;
        Self::checked(zone.as_str().to_owned())
    }

    fn checked(name: String) -> Result<Self, LabelError> {
        if name.len() > MAX_NAME {
            return Err(LabelError::TooLong { length: name.len(), written: name, limit: MAX_NAME });
        }
        Ok(Self(name.into()))
    }

    /// The name, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_canonicalised_as_bosh_does() {
        assert_eq!(Label::canonical("My_Job+v1.2").unwrap().to_string(), "my-jobv12");
    }

    #[test]
    fn a_name_without_a_usable_character_is_refused() {
        assert!(matches!(Label::canonical("_+_"), Err(LabelError::NoLabel { .. })));
    }

    #[test]
    fn rfc1035_2_3_4_labels_end_at_63_octets() {
        assert!(Label::canonical(&"a".repeat(63)).is_ok());
        assert!(matches!(Label::canonical(&"a".repeat(64)), Err(LabelError::TooLong { length: 64, .. })));
    }

    #[test]
    fn rfc1035_2_3_4_names_end_at_253_characters() {
        let part = "a".repeat(63);
        let tld = Tld::new(&"b".repeat(61)).unwrap();
        assert!(Hostname::of_service(&part, &part, &part, &tld).is_ok());
        let tld = Tld::new(&"b".repeat(62)).unwrap();
        assert!(matches!(
            Hostname::of_service(&part, &part, &part, &tld),
            Err(LabelError::TooLong { length: 254, .. })
        ));
    }

    #[test]
    fn a_zone_is_refused_and_not_bent() {
        assert!(Tld::new("Boshy").is_err());
        assert_eq!(Tld::new("mesh.internal.").unwrap().as_str(), "mesh.internal");
    }
}
