//! Renders JSON as Go's `json.MarshalIndent(value, " ", " ")` does.
//!
//! Clients of the v1 API compare bodies byte by byte, so details matter: one space per level, one additional space
//! before every line but the first, `{}` and `[]` on one line, no newline at the end, and `&`, `<`, `>` escaped.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Renders a value.
pub(super) fn render(value: &impl Serialize) -> Vec<u8> {
    let mut body = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut body, GoIndented::default()))
        .expect("wire types have string keys and a vector takes every write");
    body
}

#[derive(Default)]
struct GoIndented {
    depth: usize,
    has_value: bool,
}

impl GoIndented {
    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.has_value {
            self.new_line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + Write>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        self.new_line(writer)
    }

    fn new_line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n ")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b" "))
    }
}

impl Formatter for GoIndented {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['&', '<', '>', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            let mut characters = tail.chars();
            let escaped = characters.next().map_or(0, u32::from);
            write!(writer, "{plain}\\u{escaped:04x}")?;
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let text: &[u8] = match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus => b"\\\\",
            CharEscape::Solidus => b"/",
            CharEscape::LineFeed => b"\\n",
            CharEscape::CarriageReturn => b"\\r",
            CharEscape::Tab => b"\\t",
            CharEscape::Backspace => b"\\u0008",
            CharEscape::FormFeed => b"\\u000c",
            CharEscape::AsciiControl(code) => return write!(writer, "\\u{code:04x}"),
        };
        writer.write_all(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(render(value)).unwrap()
    }

    #[test]
    fn later_lines_have_one_space_more_than_their_level() {
        assert_eq!(
            text(&json!({"a": [1, {"b": 2}], "c": 3})),
            "{\n  \"a\": [\n   1,\n   {\n    \"b\": 2\n   }\n  ],\n  \"c\": 3\n }"
        );
    }

    #[test]
    fn empty_containers_stay_on_one_line() {
        assert_eq!(text(&json!({"hosts": []})), "{\n  \"hosts\": []\n }");
        assert_eq!(text(&json!({"a": {}, "b": [[], {}]})), "{\n  \"a\": {},\n  \"b\": [\n   [],\n   {}\n  ]\n }");
        assert_eq!(text(&json!([])), "[]");
    }

    #[test]
    fn html_and_control_characters_are_escaped_as_go_does() {
        assert_eq!(
            text(&json!("a&b<c>\"\\/\n\r\t\u{8}\u{c}\u{1}\u{7f}\u{2028}é|")),
            r#""a\u0026b\u003cc\u003e\"\\/\n\r\t\u0008\u000c\u0001"#.to_owned() + "\u{7f}" + r"\u2028é|" + "\""
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_it_reads_back_the_same(written in any_value()) {
            let body = text(&written);
            prop_assert!(!body.contains(['&', '<', '>', '\u{2028}', '\u{2029}']), "{body}");
            prop_assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), written);
        }

        #[test]
        fn every_line_but_the_first_has_one_space_more_than_its_level(written in any_value()) {
            let plain = serde_json::to_string_pretty(&written).unwrap();
            let begin = |line: &str| line.len() - line.trim_start_matches(' ').len();
            let levels = plain.lines().map(|line| begin(line) / 2);
            let expected: Vec<_> = levels.enumerate().map(|(at, level)| level + usize::from(at > 0)).collect();
            prop_assert_eq!(text(&written).lines().map(begin).collect::<Vec<_>>(), expected);
        }
    }

    /// Arbitrary characters, with a bias towards those that are escaped.
    fn any_text() -> impl Strategy<Value = String> {
        let escaped = "&<>\"\\/\n\r\t\u{8}\u{c}\0\u{1}\u{1f}\u{7f}\u{2028}\u{2029}".chars().collect::<Vec<_>>();
        let character = prop_oneof![any::<char>(), proptest::sample::select(escaped)];
        proptest::collection::vec(character, 0..8).prop_map(String::from_iter)
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any_text().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(any_text(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
