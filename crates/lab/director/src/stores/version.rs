//! BOSH's order of versions: `1.2.3-rc.1+dev.4` is compared part by part, numbers before words.

use std::cmp::Ordering;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Segment<'a> {
    Number(u64),
    Word(&'a str),
}

/// Compares two versions.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (parts(left), parts(right));
    // A pre-release is older than its release, a post-release is younger.
    segments(left.0)
        .cmp(&segments(right.0))
        .then_with(|| match (left.1, right.1) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => segments(left).cmp(&segments(right)),
        })
        .then_with(|| left.2.map(segments).cmp(&right.2.map(segments)))
}

fn parts(version: &str) -> (&str, Option<&str>, Option<&str>) {
    let (version, post) = version.split_once('+').map_or((version, None), |(version, post)| (version, Some(post)));
    let (release, pre) = version.split_once('-').map_or((version, None), |(release, pre)| (release, Some(pre)));
    (release, pre, post)
}

/// Trailing zeros do not count: `1.0` equals `1`.
fn segments(part: &str) -> Vec<Segment<'_>> {
    let segment = |text| str::parse(text).map_or(Segment::Word(text), Segment::Number);
    let mut segments: Vec<_> = part.split('.').map(segment).collect();
    while segments.len() > 1 && segments.last() == Some(&Segment::Number(0)) {
        segments.pop();
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_parts() {
        let ordered = ["0+dev.2", "0+dev.10", "0.1.0-rc.1", "0.1.0", "0.1.0+dev.1", "0.2", "0.10", "1.484", "1.1000"];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("1.0", "1"), Ordering::Equal);
    }
}
