//! `/configs`.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{Answer, Asked, Kind, World};
use crate::{
    DirectorError,
    world::{ConfigFilter, ConfigRef, PostRefused},
};
use boshy_director::wire::ConfigPost;

pub(super) fn list(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let request = asked.request;
    let owned = |name: &str| request.param(name).map(str::to_owned);
    let latest_only = (request.param("latest") != Some("false")).then_some(1);
    let limit = match request.param("limit").map(str::parse::<usize>) {
        None => latest_only,
        Some(Ok(limit)) if limit > 0 => Some(limit),
        Some(_) => return Err(DirectorError::bad_config("'limit' must be larger than zero").into()),
    };
    let filter = ConfigFilter { kind: owned("type"), name: owned("name"), limit };
    let mut shown = world.configs.list(&filter);
    shown.retain(|config| asked.is_shown(config.team.as_slice()));
    Ok(Answer::html(&shown))
}

pub(super) fn one(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let config = world.configs.get(&path[1]).ok_or_else(|| DirectorError::no_config(&path[1]))?;
    Ok(Answer::html(&config))
}

pub(super) fn post(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let config = world.post_config(&body(asked)?, &asked.caller.name, asked.now).map_err(refused)?;
    Ok(Answer::json_as(201, Kind::Html, &config))
}

pub(super) fn refused(refused: PostRefused) -> Answer {
    match refused {
        PostRefused::Bad(error) => error.into(),
        PostRefused::Conflict(conflict) => Answer::json_as(412, Kind::Html, &conflict),
    }
}

/// The difference between a new config and the stored one, or between two configs by id or content.
pub(super) fn diff(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let two: TwoConfigs = read_body(asked)?;
    match (two.from, two.to) {
        (Some(from), Some(to)) => Ok(Answer::html(&json!({"diff": world.configs.diff_two(&from, &to)?}))),
        _ => Ok(Answer::html(&world.configs.diff(&body(asked)?, true)?)),
    }
}

pub(super) fn delete_one(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    if world.configs.delete(|config| config.id == path[1]) {
        return Ok(Answer::text(204, Kind::Html, ""));
    }
    Err(DirectorError::no_config(&path[1]).into())
}

pub(super) fn delete_all(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let missing = |key: &str| DirectorError::bad_config(format!("'{key}' is required"));
    let kind = asked.request.param("type").ok_or_else(|| missing("type"))?;
    let name = asked.request.param("name").ok_or_else(|| missing("name"))?;
    if world.configs.delete(|config| config.kind == kind && config.name == name) {
        return Ok(Answer::text(204, Kind::Html, ""));
    }
    Err(Answer::text(404, Kind::Html, ""))
}

#[derive(Deserialize)]
struct TwoConfigs {
    from: Option<ConfigRef>,
    to: Option<ConfigRef>,
}

fn body(asked: &Asked<'_>) -> Result<ConfigPost, Answer> {
    read_body(asked)
}

pub(super) fn read_body<T: DeserializeOwned>(asked: &Asked<'_>) -> Result<T, Answer> {
    let body = asked.request.body_of("application/json")?;
    let bad = |error| DirectorError::new(400, 710_001, format!("Invalid JSON request body: {error}"));
    Ok(serde_json::from_slice(body).map_err(bad)?)
}
