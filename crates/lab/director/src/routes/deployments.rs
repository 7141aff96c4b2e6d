//! `/deployments`.

use serde_json::{Map, Value, json};

use super::{Answer, Asked, World};
use crate::{
    DirectorError, diff,
    world::{ConfigIds, DeployOrder, DeploymentRecord, SkipDrain, Work},
};
use boshy_director::wire::{DeploymentRow, ManifestBody, ManifestDiff};
use boshy_yaml::Limits;

pub(super) fn list(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let included = |what: &str| !asked.request.flag(&format!("exclude_{what}"));
    let row = |(name, record): (&String, &DeploymentRecord)| DeploymentRow {
        name: name.clone(),
        teams: record.teams.clone(),
        cloud_config: included("configs").then(|| cloud_config_state(world, record).to_owned()),
        stemcells: included("stemcells").then(|| record.stemcells()),
        releases: included("releases").then(|| record.releases().to_vec()),
        locked: included("lock").then(|| world.is_locked(name)),
    };
    let shown = world.deployments.iter().filter(|(_, record)| asked.is_shown(&record.teams));
    Ok(Answer::html(&shown.map(row).collect::<Vec<_>>()))
}

fn cloud_config_state(world: &World, record: &DeploymentRecord) -> &'static str {
    match &record.in_use {
        None => "latest",
        Some(in_use) if in_use.configs.cloud.is_empty() => "none",
        Some(in_use) if in_use.configs.cloud == world.latest_configs().cloud => "latest",
        Some(_) => "outdated",
    }
}

pub(super) fn manifest(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let manifest = world.deployment(&path[1])?.manifest.clone();
    Ok(Answer::html(&ManifestBody { manifest }))
}

pub(super) fn deploy(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let text = text(asked)?;
    if !world.has_vms {
        let task = world.submit(&text, &asked.caller.name, asked.now)?;
        return Ok(Answer::task(asked.request, task));
    }
    let name = world.deployment_name(&text)?;
    let task = world.enqueue(&name, &asked.caller.name, Work::Deploy(Box::new(order(asked, text))));
    Ok(Answer::task(asked.request, task))
}

/// The parameters of a deploy request.
pub(super) fn order(asked: &Asked<'_>, text: String) -> DeployOrder {
    let request = asked.request;
    let owned = |name: &str| request.param(name).filter(|value| !value.is_empty()).map(str::to_owned);
    DeployOrder {
        text,
        recreate: request.flag("recreate"),
        fix: request.flag("fix"),
        dry_run: request.flag("dry_run"),
        skip_drain: SkipDrain::parse(request.param("skip_drain")),
        canaries: owned("canaries"),
        max_in_flight: owned("max_in_flight"),
        configs: request.param("context").and_then(config_ids),
        converge: None,
    }
}

/// The configs named by a diff, which its deploy has to use.
fn config_ids(context: &str) -> Option<ConfigIds> {
    let context: Value = serde_json::from_str(context).ok()?;
    let ids = |key: &str| {
        let ids = context.get(key)?.as_array()?;
        Some(ids.iter().map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)).collect())
    };
    Some(ConfigIds { cloud: ids("cloud_config_ids")?, runtime: ids("runtime_config_ids")? })
}

pub(super) fn delete(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let user = &asked.caller.name;
    if !world.has_vms {
        let task = world.delete(&path[1], user, asked.now)?;
        return Ok(Answer::task(asked.request, task));
    }
    world.deployment(&path[1])?;
    let task = world.enqueue(&path[1], user, Work::Delete { force: asked.request.flag("force") });
    Ok(Answer::task(asked.request, task))
}

/// For a new deployment, everything is added. In a director with VMs, the configs of the deploy count as well.
pub(super) fn diff(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let wanted = read(&text(asked)?)?;
    let latest = world.latest_configs();
    let record = world.deployments.get(&path[1]);
    let current = record.and_then(|record| record.manifest.as_deref()).map_or(Ok(Value::Null), read)?;
    let (from, to) = if world.has_vms {
        let used = record.and_then(|record| record.in_use.as_ref()).map(|in_use| in_use.configs.clone());
        (with_configs(world, current, &used.unwrap_or_default()), with_configs(world, wanted, &latest))
    } else {
        (current, wanted)
    };
    let redact = asked.request.param("redact") != Some("false");
    let numbers = |ids: &[String]| ids.iter().filter_map(|id| id.parse::<u64>().ok()).collect::<Vec<_>>();
    let context = json!({"cloud_config_ids": numbers(&latest.cloud), "runtime_config_ids": numbers(&latest.runtime)});
    Ok(Answer::html(&ManifestDiff { context, diff: diff::lines(&from, &to, redact) }))
}

/// A manifest merged with its configs; lists with the same name are joined.
fn with_configs(world: &World, manifest: Value, ids: &ConfigIds) -> Value {
    let configs = ids.cloud.iter().chain(&ids.runtime).filter_map(|id| world.configs.content(id));
    let mut all = Map::new();
    for part in configs.filter_map(|content| read(content).ok()).chain([manifest]) {
        let Value::Object(part) = part else { continue };
        for (key, value) in part {
            match (all.get_mut(&key), value) {
                (Some(Value::Array(known)), Value::Array(more)) => {
                    let new: Vec<Value> = more.into_iter().filter(|value| !known.contains(value)).collect();
                    known.extend(new);
                }
                (_, value) => {
                    all.insert(key, value);
                }
            }
        }
    }
    Value::Object(all)
}

fn read(text: &str) -> Result<Value, DirectorError> {
    boshy_yaml::from_text(text, &Limits::default()).map_err(|error| {
        DirectorError::new(400, 440_001, format!("Incorrect YAML structure of the uploaded manifest: {error}"))
    })
}

pub(super) fn text(asked: &Asked<'_>) -> Result<String, Answer> {
    let body = asked.request.body_of("text/yaml")?.to_vec();
    let bad = |_| DirectorError::new(400, 440_001, "Incorrect YAML structure of the uploaded manifest: not UTF-8");
    Ok(String::from_utf8(body).map_err(bad)?)
}
