//! Maps, lists and names, as a director accepts them.

use boshy_yaml::{Map, Shape, View, YamlError};

pub(super) fn map(view: View<'_>) -> Result<Map<'_>, YamlError> {
    match view.shape() {
        Shape::Map(map) => Ok(map),
        _ => Err(view.refused("must be a map")),
    }
}

/// The list under a key. A missing list counts as empty; a director accepts nothing else than a list.
pub(super) fn list<'d>(map: Map<'d>, key: &str) -> Result<Vec<View<'d>>, YamlError> {
    let Some(pair) = map.get(key) else { return Ok(Vec::new()) };
    match pair.value.shape() {
        Shape::List(list) => Ok(list.items().collect()),
        Shape::Scalar(boshy_yaml::Scalar::Null) => Ok(Vec::new()),
        _ => Err(pair.value.refused(format!("{key} must be a list"))),
    }
}

pub(super) fn named(view: View<'_>, map: Map<'_>) -> Result<String, YamlError> {
    let name = map.get("name").ok_or_else(|| view.refused("has no name"))?;
    name.value.text().ok_or_else(|| name.value.refused("a name must be text"))
}

/// The names of the maps listed under a key; other entries are skipped.
pub(super) fn names(map: Map<'_>, key: &str) -> Vec<String> {
    let items = list(map, key).unwrap_or_default();
    items.into_iter().filter_map(|item| named(item, self::map(item).ok()?).ok()).collect()
}

/// The texts listed under a key; other entries are skipped.
pub(super) fn texts(map: Map<'_>, key: &str) -> Vec<String> {
    list(map, key).unwrap_or_default().into_iter().filter_map(View::text).collect()
}
