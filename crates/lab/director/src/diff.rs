//! The difference of two manifests or configs as a director shows it: it compares parsed content, shows the keys that
//! lead to a change, and hides possible secrets.

use serde_json::{Map, Value};

use boshy_director::wire::DiffLine;

/// Replacement for a possible secret.
const REDACTED: &str = "<redacted>";

/// The lines that differ. With `redact`, values below `properties` and `env` are hidden, but not the fact that they
/// differ.
pub(super) fn lines(from: &Value, to: &Value, redact: bool) -> Vec<DiffLine> {
    let mut lines = Vec::new();
    Walk { redact }.maps(&mut lines, 0, (&as_map(from), &as_map(to)), false);
    lines
}

fn as_map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

struct Walk {
    redact: bool,
}

impl Walk {
    fn maps(
        &self,
        lines: &mut Vec<DiffLine>,
        indent: usize,
        (from, to): (&Map<String, Value>, &Map<String, Value>),
        secret: bool,
    ) {
        let new = to.keys().filter(|key| !from.contains_key(*key));
        for key in from.keys().chain(new) {
            let secret = secret || (self.redact && matches!(key.as_str(), "properties" | "env"));
            match (from.get(key), to.get(key)) {
                (Some(old), Some(new)) if old == new => {}
                (Some(Value::Object(old)), Some(Value::Object(new))) => {
                    lines.push((format!("{}{key}:", pad(indent)), None));
                    self.maps(lines, indent + 2, (old, new), secret);
                }
                (Some(Value::Array(old)), Some(Value::Array(new))) => {
                    lines.push((format!("{}{key}:", pad(indent)), None));
                    self.lists(lines, indent, (old, new), secret);
                }
                (old, new) => {
                    for (value, sign) in [(old, "removed"), (new, "added")] {
                        let entry = value.map(|value| Map::from_iter([(key.clone(), self.shown(value, secret))]));
                        mark(lines, sign, entry.map(|entry| written_map(&entry, indent)).unwrap_or_default());
                    }
                }
            }
        }
    }

    fn lists(&self, lines: &mut Vec<DiffLine>, indent: usize, (from, to): (&[Value], &[Value]), secret: bool) {
        for old in from.iter().filter(|old| !to.contains(old)) {
            match to.iter().find(|new| same_name(old, new)) {
                Some(new) => {
                    let name = Value::Object(Map::from_iter([("name".to_owned(), old["name"].clone())]));
                    lines.extend(written_list(&[name], indent).into_iter().map(|line| (line, None)));
                    self.maps(lines, indent + 2, (&as_map(old), &as_map(new)), secret);
                }
                None => {
                    mark(lines, "removed", written_list(&[self.shown(old, secret)], indent));
                }
            }
        }
        let is_new = |new: &&Value| !from.contains(new) && !from.iter().any(|old| same_name(old, new));
        for new in to.iter().filter(is_new) {
            mark(lines, "added", written_list(&[self.shown(new, secret)], indent));
        }
    }

    /// The value with its secrets hidden.
    fn shown(&self, value: &Value, secret: bool) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| {
                    let secret = secret || (self.redact && matches!(key.as_str(), "properties" | "env"));
                    (key.clone(), self.shown(value, secret))
                })
                .collect(),
            Value::Array(list) => list.iter().map(|value| self.shown(value, secret)).collect(),
            _ if secret => Value::from(REDACTED),
            other => other.clone(),
        }
    }
}

fn same_name(old: &Value, new: &Value) -> bool {
    old.get("name").is_some_and(|name| name.is_string() && new.get("name") == Some(name))
}

fn mark(lines: &mut Vec<DiffLine>, sign: &str, written: Vec<String>) {
    lines.extend(written.into_iter().map(|line| (line, Some(sign.to_owned()))));
}

fn pad(indent: usize) -> String {
    " ".repeat(indent)
}

/// The lines of a YAML text.
fn written_map(map: &Map<String, Value>, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in map {
        let key = scalar(&Value::from(key.as_str()));
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                lines.push(format!("{}{key}:", pad(indent)));
                lines.extend(written_map(inner, indent + 2));
            }
            Value::Array(inner) if !inner.is_empty() => {
                lines.push(format!("{}{key}:", pad(indent)));
                lines.extend(written_list(inner, indent));
            }
            other => lines.push(format!("{}{key}: {}", pad(indent), scalar(other))),
        }
    }
    lines
}

fn written_list(list: &[Value], indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for value in list {
        let inner = match value {
            Value::Object(inner) if !inner.is_empty() => written_map(inner, indent + 2),
            Value::Array(inner) if !inner.is_empty() => written_list(inner, indent + 2),
            other => vec![format!("{}{}", pad(indent + 2), scalar(other))],
        };
        for (number, line) in inner.into_iter().enumerate() {
            let dash = if number == 0 { format!("{}- ", pad(indent)) } else { pad(indent + 2) };
            lines.push(format!("{dash}{}", &line[indent + 2..]));
        }
    }
    lines
}

/// A scalar in YAML syntax. Text that would be parsed as another type, or has several lines, is quoted.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let special = |character: char| character.is_control() || "\"'`{}[],&*#?|<>=!%@\\".contains(character);
    let plain = !text.is_empty()
        && !text.starts_with(['-', ' ', ':'])
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && (!text.contains(special) || text == REDACTED || text.starts_with("(("))
        && text.parse::<f64>().is_err()
        && !matches!(text.to_lowercase().as_str(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "~");
    if plain { text.clone() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boshy_yaml::Limits;

    fn shown(from: &str, to: &str) -> Vec<String> {
        let read = |text: &str| boshy_yaml::from_text::<Value>(text, &Limits::default()).unwrap();
        let sign = |kind: Option<&str>| match kind {
            Some("added") => '+',
            Some(_) => '-',
            None => ' ',
        };
        let line = |(line, kind): &DiffLine| format!("{}{line}", sign(kind.as_deref()));
        lines(&read(from), &read(to), true).iter().map(line).collect()
    }

    #[test]
    fn the_keys_that_lead_to_a_change_are_shown_with_it() {
        let before = "{name: a, instance_groups: [{name: web, instances: 3, azs: [z1]}, {name: db, instances: 1}]}";
        let after = before.replace("instances: 3", "instances: 4");
        let expected = [" instance_groups:", " - name: web", "-  instances: 3", "+  instances: 4"];
        assert_eq!(shown(before, &after), expected);
        assert_eq!(shown(before, before), [""; 0]);
    }

    #[test]
    fn what_is_new_is_written_as_yaml() {
        let to = r#"{a: {b: [1, {c: 'yes', d: [x]}, [p, z]], e: {}}, f: "two\nlines"}"#;
        let expected = [
            "+a:",
            "+  b:",
            "+  - 1",
            "+  - c: \"yes\"",
            "+    d:",
            "+    - x",
            "+  - - p",
            "+    - z",
            "+  e: {}",
            "+f: \"two\\nlines\"",
        ];
        assert_eq!(shown("{}", to), expected);
    }

    #[test]
    fn what_may_be_secret_is_hidden_but_that_it_changed_is_not() {
        let before = "{jobs: [{name: j, properties: {password: old, list: [a]}}]}";
        let after = "{jobs: [{name: j, properties: {password: new, list: [a]}}], env: {x: secret}}";
        let expected = [
            " jobs:",
            " - name: j",
            "   properties:",
            "-    password: <redacted>",
            "+    password: <redacted>",
            "+env:",
            "+  x: <redacted>",
        ];
        assert_eq!(shown(before, after), expected);
    }

    #[test]
    fn entries_of_lists_come_and_go() {
        assert_eq!(shown("{l: [a, b]}", "{l: [b, c]}"), [" l:", "-- a", "+- c"]);
        assert_eq!(shown("{l: [{name: x}]}", "{l: [{name: w}]}"), [" l:", "-- name: x", "+- name: w"]);
    }
}
