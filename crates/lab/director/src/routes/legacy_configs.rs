//! `/cloud_configs`, `/runtime_configs`, `/cpi_configs`: the configs of these types, in the form that the CLI uses.

use serde_json::{Value, json};

use super::{Answer, Asked, Kind, World, configs::refused, deployments};
use boshy_director::wire::ConfigPost;

/// The newest config of a name; the CLI always sets `limit`.
pub(super) fn list(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let latest = world.configs.latest(kind(path), name(asked));
    let row =
        |config: &boshy_director::wire::Config| json!({"properties": config.content, "created_at": config.created_at});
    Ok(Answer::html(&latest.map(row).into_iter().collect::<Vec<Value>>()))
}

pub(super) fn post(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let post = posted(asked, path)?;
    world.configs.post(&post, asked.now).map_err(refused)?;
    world.journal.note(&asked.caller.name, "update", &format!("{}-config", kind(path)), name(asked), asked.now);
    Ok(Answer::text(201, Kind::Html, ""))
}

pub(super) fn diff(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let redact = asked.request.param("redact") != Some("false");
    Ok(Answer::html(&world.configs.diff(&posted(asked, path)?, redact)?))
}

fn posted(asked: &Asked<'_>, path: &[String]) -> Result<ConfigPost, Answer> {
    Ok(ConfigPost {
        kind: Some(kind(path).to_owned()),
        name: Some(name(asked).to_owned()),
        content: Some(deployments::text(asked)?),
        expected_latest_id: None,
    })
}

fn kind(path: &[String]) -> &str {
    path[0].strip_suffix("_configs").unwrap_or(&path[0])
}

fn name<'a>(asked: &'a Asked<'_>) -> &'a str {
    asked.request.param("name").filter(|name| !name.is_empty()).unwrap_or("default")
}
