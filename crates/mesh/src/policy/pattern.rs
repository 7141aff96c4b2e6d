//! Patterns of names, as Istio's policies write them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name, or the names that begin or end with a text. It is written as `name`, `begin*`, `*end` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Every name.
    Any,
    /// This name only.
    Exact(String),
    /// Names that begin so.
    Prefix(String),
    /// Names that end so.
    Suffix(String),
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern: write a name of letters, digits, dots, dashes, underscores and slashes, with at most one `*`, \
     as its first or last character"
)]
pub struct PatternError(String);

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When it is empty, has a character that no identity has, or a `*` that is neither its first nor its last
    /// character.
    pub fn parse(written: &str) -> Result<Self, PatternError> {
        let (text, pattern): (&str, fn(String) -> Self) = match (written.strip_prefix('*'), written.strip_suffix('*')) {
            (Some(""), _) => return Ok(Self::Any),
            (Some(end), _) => (end, Self::Suffix),
            (None, Some(begin)) => (begin, Self::Prefix),
            (None, None) => (written, Self::Exact),
        };
        let is_of_identities =
            |octet| matches!(octet, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/');
        if text.is_empty() || !text.bytes().all(is_of_identities) {
            return Err(PatternError(written.to_owned()));
        }
        Ok(pattern(text.to_owned()))
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => name == text,
            Self::Prefix(text) => name.starts_with(text.as_str()),
            Self::Suffix(text) => name.ends_with(text.as_str()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(written: String) -> Result<Self, PatternError> {
        Self::parse(&written)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_the_beginning_the_end_or_all_of_a_name() {
        for (written, matching, other) in [
            ("shop", "shop", "shops"),
            ("shop*", "shops", "a-shop"),
            ("*shop", "a-shop", "shops"),
            ("*", "anything", "\u{0}"),
        ] {
            let pattern = Pattern::parse(written).unwrap();
            assert_eq!(pattern.to_string(), written);
            assert!(pattern.matches(matching), "{written}");
            assert_eq!(pattern.matches(other), written == "*", "{written}");
        }
    }

    #[test]
    fn what_no_identity_contains_is_no_pattern() {
        for written in ["", "**", "a*b", "*a*", "a b", "é", "a:b", "(a|b)"] {
            assert!(Pattern::parse(written).is_err(), "{written}");
        }
    }
}
