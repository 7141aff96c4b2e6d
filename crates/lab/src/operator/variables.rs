//! Changes to a manifest, like those of `bosh deploy -v NAME=VALUE` and of an ops file.

use serde_json::{Map, Value};

/// Values of variables by name.
pub(crate) struct Filled<'a>(pub(crate) &'a [(&'a str, String)]);

impl Filled<'_> {
    /// Replaces `((name))`; other variables are left to the director.
    pub(crate) fn fill(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                Value::String(self.0.iter().fold(text, |text, (name, with)| text.replace(&format!("(({name}))"), with)))
            }
            Value::Array(items) => items.into_iter().map(|item| self.fill(item)).collect(),
            Value::Object(entries) => entries.into_iter().map(|(key, entry)| (key, self.fill(entry))).collect(),
            other => other,
        }
    }
}

/// Sets properties of every job with this name. A property is named by its path with dots.
pub(crate) fn with_properties(mut manifest: Value, job: &str, properties: &[(&str, Value)]) -> Value {
    visit(&mut manifest, job, properties);
    manifest
}

/// Both instance groups and addons list jobs under `jobs`.
fn visit(value: &mut Value, job: &str, properties: &[(&str, Value)]) {
    let lists = ["instance_groups", "addons"].map(|list| value[list].as_array().cloned());
    for (list, entries) in ["instance_groups", "addons"].into_iter().zip(lists) {
        let Some(mut entries) = entries else { continue };
        let jobs = entries.iter_mut().filter_map(|entry| entry["jobs"].as_array_mut()).flatten();
        for found in jobs.filter(|found| found["name"] == job) {
            for (path, with) in properties {
                set(&mut found["properties"], path, with.clone());
            }
        }
        value[list] = Value::Array(entries);
    }
}

fn set(at: &mut Value, path: &str, with: Value) {
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    match path.split_once('.') {
        Some((first, rest)) => set(&mut at[first], rest, with),
        None => at[path] = with,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_given_variables_are_filled_in() {
        let variables = [("secret", "s3".to_owned())];
        let filled = Filled(&variables).fill(json!({"a": ["((secret))", "x((secret))"], "b": "((other))", "c": 1}));
        assert_eq!(filled, json!({"a": ["s3", "xs3"], "b": "((other))", "c": 1}));
    }

    #[test]
    fn properties_are_set_in_groups_and_addons_and_nowhere_else() {
        let manifest = json!({
            "instance_groups": [{"jobs": [{"name": "j", "properties": {"a": {"keep": 1}}}, {"name": "k"}]}],
            "addons": [{"jobs": [{"name": "j"}]}],
        });
        let changed = with_properties(manifest, "j", &[("a.b", json!(true))]);
        let wanted = json!({
            "instance_groups": [{"jobs": [{"name": "j", "properties": {"a": {"keep": 1, "b": true}}}, {"name": "k"}]}],
            "addons": [{"jobs": [{"name": "j", "properties": {"a": {"b": true}}}]}],
        });
        assert_eq!(changed, wanted);
    }
}
