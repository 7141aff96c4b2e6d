//! `((variables))` in documents.
//!
//! A placeholder that is a whole value is replaced by any value; one within text is replaced by text or a number. Some
//! parts of a manifest are resolved later, when the variables that it declares have values.

use serde_json::Value;

/// Paths in a deployment manifest that are resolved later; `*` is any position or key.
pub(super) const LATE_IN_MANIFEST: &[&[&str]] = &[
    &["properties"],
    &["instance_groups", "*", "properties"],
    &["instance_groups", "*", "jobs", "*", "properties"],
    &["instance_groups", "*", "jobs", "*", "consumes", "*", "properties"],
    &["instance_groups", "*", "env"],
    &["addons", "*", "properties"],
    &["addons", "*", "jobs", "*", "properties"],
    &["addons", "*", "jobs", "*", "consumes", "*", "properties"],
    &["variables"],
];

/// The same in a runtime config.
pub(super) const LATE_IN_RUNTIME_CONFIG: &[&[&str]] = &[
    &["addons", "*", "properties"],
    &["addons", "*", "jobs", "*", "properties"],
    &["addons", "*", "jobs", "*", "consumes", "*", "properties"],
    &["variables"],
];

/// Replaces placeholders below `value`, except on the paths given. Placeholders that could not be replaced are added to
/// `errors`, once each.
pub(super) fn interpolate(
    value: &mut Value,
    late: &[&[&str]],
    look_up: &mut dyn FnMut(&str) -> Result<Value, String>,
    errors: &mut Vec<String>,
) {
    let mut walk = Walk { look_up, errors };
    walk.visit(value, late);
}

struct Walk<'a> {
    look_up: &'a mut dyn FnMut(&str) -> Result<Value, String>,
    errors: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn visit(&mut self, value: &mut Value, late: &[&[&str]]) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map.iter_mut() {
                    self.enter(inner, key, late);
                }
            }
            Value::Array(list) => {
                for inner in list {
                    self.enter(inner, "*", late);
                }
            }
            Value::String(text) if text.contains("((") => {
                if let Some(replaced) = self.replaced(text) {
                    *value = replaced;
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, inner: &mut Value, key: &str, late: &[&[&str]]) {
        let below: Vec<&[&str]> = late
            .iter()
            .filter_map(|path| path.split_first())
            .filter(|(first, _)| **first == "*" || **first == key)
            .map(|(_, rest)| rest)
            .collect();
        if !below.iter().any(|path| path.is_empty()) {
            self.visit(inner, &below);
        }
    }

    fn replaced(&mut self, text: &str) -> Option<Value> {
        let parts = parts(text);
        if let [Part::Name(name)] = parts.as_slice() {
            return self.value(name);
        }
        let mut whole = String::new();
        let mut is_complete = true;
        for part in parts {
            let value = match part {
                Part::Text(text) => Some(Value::String(text.to_owned())),
                Part::Name(name) => self.value(name),
            };
            match value {
                Some(Value::String(text)) => whole.push_str(&text),
                Some(Value::Number(number)) => whole.push_str(&number.to_string()),
                Some(_) => {
                    self.tell("Failed to substitute variable: only text and numbers fit within text".to_owned());
                    is_complete = false;
                }
                None => is_complete = false,
            }
        }
        is_complete.then_some(Value::String(whole))
    }

    fn value(&mut self, name: &str) -> Option<Value> {
        (self.look_up)(name).map_err(|text| self.tell(text)).ok()
    }

    fn tell(&mut self, text: String) {
        if !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("((") {
        let Some((name, behind)) = after.split_once("))") else { break };
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(Part::Name(name));
        rest = behind;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// The name in a text that consists of a single placeholder.
pub(super) fn sole_placeholder(value: &Value) -> Option<&str> {
    match parts(value.as_str()?).as_slice() {
        [Part::Name(name)] => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(mut value: Value, late: &[&[&str]]) -> (Value, Vec<String>) {
        let mut errors = Vec::new();
        let mut look_up = |name: &str| match name {
            "a" => Ok(json!({"b": 1})),
            "port" => Ok(json!(80)),
            _ => Err(format!("no {name}")),
        };
        interpolate(&mut value, late, &mut look_up, &mut errors);
        (value, errors)
    }

    #[test]
    fn a_placeholder_alone_takes_any_value_and_one_in_text_takes_text() {
        let (value, errors) = run(json!({"x": "((a))", "y": ["host:((port))"], "z": "(( ) (a)"}), &[]);
        assert_eq!(value, json!({"x": {"b": 1}, "y": ["host:80"], "z": "(( ) (a)"}));
        assert!(errors.is_empty());
    }

    #[test]
    fn what_is_missing_is_told_once_and_late_parts_are_left() {
        let late: &[&[&str]] = &[&["jobs", "*", "properties"]];
        let written = json!({"jobs": [{"properties": "((nope))", "name": "((no))"}], "other": "((no))-((a))"});
        let (value, errors) = run(written.clone(), late);
        assert_eq!(value, written);
        assert_eq!(errors, ["no no", "Failed to substitute variable: only text and numbers fit within text"]);
    }
}
