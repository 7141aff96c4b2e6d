//! Times as a director writes them.

/// Parses `2026-11-23T15:13:34Z`, with or without a fraction, to seconds since the Unix epoch. `None` for anything
/// else, including times before 1970.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.split_once('.').map_or(time, |(whole, _)| whole), ':')?;
    let fits = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !(fits && hour < 24 && minute < 60 && second <= 60) {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let parts = text.split(separator).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    parts.try_into().ok()
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, by eras of 400 years that begin in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
