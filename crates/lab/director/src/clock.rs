//! Formats times like a director.

use boshy_mesh::Timestamp;

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

fn parts(Timestamp(seconds): Timestamp) -> (String, String) {
    let (year, month, day) = civil(seconds / 86_400);
    let rest = seconds % 86_400;
    (format!("{year:04}-{month:02}-{day:02}"), format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60))
}

/// Days since 1970-01-01 to a date of the Gregorian calendar, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
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
