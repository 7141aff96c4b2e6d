//! `/deployments`.

use serde_json::json;

use super::{Answer, Asked, World};
use crate::{
    embedded::{DirectorError, diff, world::DeploymentRecord},
    wire::{DeploymentRow, ManifestBody, ManifestDiff},
};

pub(super) fn list(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let included = |what: &str| !asked.request.flag(&format!("exclude_{what}"));
    let row = |(name, record): (&String, &DeploymentRecord)| DeploymentRow {
        name: name.clone(),
        teams: Vec::new(),
        cloud_config: included("configs").then(|| "latest".to_owned()),
        stemcells: included("stemcells").then(|| record.wanted.stemcell_rows()),
        releases: included("releases").then(|| record.wanted.releases.clone()),
        locked: included("lock").then(|| world.is_locked(name)),
    };
    Ok(Answer::html(&world.deployments.iter().map(row).collect::<Vec<_>>()))
}

pub(super) fn manifest(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let manifest = world.deployment(&path[1])?.manifest.clone();
    Ok(Answer::html(&ManifestBody { manifest }))
}

pub(super) fn deploy(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let text = text(asked)?;
    let task = world.submit(&text, &asked.caller.name, asked.now)?;
    Ok(Answer::task(asked.request, task))
}

pub(super) fn delete(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let task = world.delete(&path[1], &asked.caller.name, asked.now)?;
    Ok(Answer::task(asked.request, task))
}

/// For a deployment that is not there yet, everything is added.
pub(super) fn diff(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let text = text(asked)?;
    let current = world.deployment(&path[1]).ok().and_then(|record| record.manifest.as_deref()).unwrap_or_default();
    let cloud = world.configs.latest("cloud", "default").and_then(|config| config.id.parse::<u64>().ok());
    let context = json!({"cloud_config_ids": cloud.into_iter().collect::<Vec<_>>(), "runtime_config_ids": []});
    Ok(Answer::html(&ManifestDiff { context, diff: diff::lines(current, &text) }))
}

fn text(asked: &Asked<'_>) -> Result<String, Answer> {
    let body = asked.request.body_of("text/yaml")?.to_vec();
    let bad = |_| DirectorError::new(400, 440_001, "Incorrect YAML structure of the uploaded manifest: not UTF-8");
    Ok(String::from_utf8(body).map_err(bad)?)
}
