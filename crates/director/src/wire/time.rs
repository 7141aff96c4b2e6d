//! Times as a director writes them.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Parses `2026-11-23T15:13:34Z`, with or without a fraction, to seconds since the Unix epoch. `None` for anything
/// else, including times before 1970.
pub(super) fn seconds(text: &str) -> Option<u64> {
    OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2000-02-29T12:34:56Z"), Some(951_827_696));
        assert_eq!(seconds("2026-11-23T15:14:28.5Z"), Some(1_795_446_868));
        assert_eq!(seconds("2100-03-01T00:00:00Z"), Some(4_107_542_400));
        for text in [
            "",
            "2026-11-23",
            "2026-13-23T00:00:00Z",
            "1969-12-31T00:00:00Z",
            "2026-11-23T15:14:28",
            "99999-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
