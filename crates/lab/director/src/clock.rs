//! Formats times like a director.

use boshy_mesh::Timestamp;
use time::OffsetDateTime;

/// `2026-11-23T15:13:34Z`.
pub(super) fn iso(at: Timestamp) -> String {
    let (date, time) = parts(at);
    format!("{date}T{time}Z")
}

/// `2026-11-23 15:14:28 UTC`.
pub(super) fn utc(at: Timestamp) -> String {
    let (date, time) = parts(at);
    format!("{date} {time} UTC")
}

/// Date and time of day. After the year 9999, where dates end, it is 1970.
fn parts(Timestamp(seconds): Timestamp) -> (String, String) {
    let at = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    (at.date().to_string(), format!("{hour:02}:{minute:02}:{second:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(iso(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(iso(Timestamp(951_827_696)), "2000-02-29T12:34:56Z");
        assert_eq!(utc(Timestamp(1_795_446_868)), "2026-11-23 15:14:28 UTC");
        assert_eq!(iso(Timestamp(4_107_542_400)), "2100-03-01T00:00:00Z");
    }
}
