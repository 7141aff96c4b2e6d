//! Path handling of the 2018 server, which used Go's `net/url` and `net/http`.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters that Go escapes when it writes a path: all but letters, digits and these.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// Characters that Go leaves unescaped in a received path, although it would escape them itself.
const TOLERATED: &[u8] = b"!'()*[]%";

/// Removes the escapes from a path. `None` when a `%` is not followed by two hexadecimal digits.
pub(super) fn decode(path: &str) -> Option<Cow<'_, str>> {
    let malformed = path
        .split('%')
        .skip(1)
        .any(|tail| !matches!(tail.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()));
    (!malformed).then(|| percent_decode_str(path).decode_utf8_lossy())
}

/// Escapes a decoded path for a URL.
pub(super) fn encode(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// A request's path and query as Go writes them back: unchanged when everything is escaped that must be, otherwise
/// escaped anew. The cache statistics use this form as the URL.
pub(super) fn reserialised(path: &str, decoded: &str, query: Option<&str>) -> String {
    let kept = path.bytes().all(|octet| TOLERATED.contains(&octet) || encode_is_identity(octet));
    let path = if kept { path.to_owned() } else { encode(decoded) };
    with_query(path, query)
}

/// A URL from its escaped path and its query.
pub(super) fn with_query(path: String, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn encode_is_identity(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&octet)
}

/// Removes `//`, `.` and `..` from a path; a trailing slash stays.
pub(super) fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let ends_in_slash = path.ends_with('/') && !segments.is_empty();
    format!("/{}{}", segments.join("/"), if ends_in_slash { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_written_escaped_however_it_came() {
        for path in ["/v1/registration/a|b", "/v1/registration/a%7Cb"] {
            let decoded = decode(path).unwrap();
            assert_eq!(decoded, "/v1/registration/a|b");
            assert_eq!(reserialised(path, &decoded, None), "/v1/registration/a%7Cb");
        }
    }

    #[test]
    fn a_well_escaped_path_and_the_query_stay_as_they_came() {
        assert_eq!(reserialised("/sidecar~1.2.3.4~x%7c(x)", "", Some("a|b")), "/sidecar~1.2.3.4~x%7c(x)?a|b");
        assert_eq!(reserialised("/x", "/x", Some("")), "/x?");
    }

    #[test]
    fn a_percent_sign_needs_two_digits() {
        for malformed in ["/%", "/%7", "/%zz", "/%%41", "/a%4g"] {
            assert_eq!(decode(malformed), None, "{malformed}");
        }
        assert_eq!(decode("/%41%2Fb").unwrap(), "/A/b");
        assert_eq!(decode("/%ff").unwrap(), "/\u{fffd}");
    }

    #[test]
    fn cleaning_keeps_one_slash_between_segments_and_the_last() {
        for (path, cleaned) in [
            ("/", "/"),
            ("//", "/"),
            ("/v1//registration", "/v1/registration"),
            ("/v1/registration//", "/v1/registration/"),
            ("/v1/./az/../registration/", "/v1/registration/"),
            ("/../..", "/"),
            ("/a/..", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn cleaning_leaves_names_between_single_slashes_and_has_nothing_left_to_do(path in "(/|\\.|a){0,12}") {
            let once = clean(&path);
            let segments = once.trim_matches('/').split('/');
            let named = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
            proptest::prop_assert!(once == "/" || segments.clone().all(named), "{once}");
            proptest::prop_assert!(once.starts_with('/') && (once == "/" || once.ends_with('/') == path.ends_with('/')));
            proptest::prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn what_is_written_into_a_url_is_read_back(path in proptest::collection::vec(proptest::prelude::any::<char>(), 0..12)) {
            let path: String = path.into_iter().collect();
            let written = encode(&path);
            proptest::prop_assert!(written.bytes().all(|octet| octet == b'%' || encode_is_identity(octet)), "{written}");
            proptest::prop_assert_eq!(decode(&written).unwrap(), path.as_str());
            proptest::prop_assert_eq!(reserialised(&written, &path, None), written);
        }
    }
}
