//! `/releases`, `/stemcells` and `/packages`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asked, World, configs::read_body, deployments};
use crate::{
    DirectorError,
    stores::Upload,
    world::{DeploymentRecord, UploadOrder, Work},
};

#[derive(Deserialize)]
struct Location {
    location: String,
}

#[derive(Deserialize)]
struct StemcellQuery {
    stemcell: NameVersion,
}

#[derive(Deserialize)]
struct NameVersion {
    name: String,
    version: Value,
}

pub(super) fn list(world: &mut World, _: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let users = users_of(world, |record| record.releases().to_vec());
    let is_deployed = |name: &str, version: &str| !users(name, version).is_empty();
    Ok(Answer::html(&world.stores.releases.rows(&is_deployed)))
}

pub(super) fn inspect(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    Ok(Answer::json(&world.stores.releases.inspect(&path[1], asked.request.param("version"))?))
}

pub(super) fn upload(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let order = match asked.request.body_of("application/x-compressed") {
        Ok(tarball) => {
            let upload = Upload { rebase: asked.request.flag("rebase"), fix: asked.request.flag("fix") };
            UploadOrder::Release { tarball: Arc::new(tarball.to_vec()), upload }
        }
        Err(_) => UploadOrder::ReleaseAt(read_body::<Location>(asked)?.location),
    };
    let task = world.enqueue("", &asked.caller.name, Work::Upload(order));
    Ok(Answer::task(asked.request, task))
}

pub(super) fn delete(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let users = users_of(world, |record| record.releases().to_vec());
    let (name, version) = (&path[1], asked.request.param("version"));
    let deleted = world.stores.releases.delete(name, version, &users);
    let task = world.at_once(&format!("delete release {name}"), &asked.caller.name, deleted, asked.now);
    Ok(Answer::task(asked.request, task))
}

pub(super) fn package_matches(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    Ok(Answer::html(&world.stores.releases.matches(&deployments::text(asked)?)?))
}

/// There are never compiled packages.
pub(super) fn compiled_matches(_: &mut World, _: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    Ok(Answer::html(&Vec::<String>::new()))
}

pub(super) fn stemcells(world: &mut World, _: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let users = users_of(world, DeploymentRecord::stemcells);
    Ok(Answer::html(&world.stores.stemcells.rows(&users)))
}

pub(super) fn needs_stemcell(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let NameVersion { name, version } = read_body::<StemcellQuery>(asked)?.stemcell;
    let version = version.as_str().map_or_else(|| version.to_string(), str::to_owned);
    Ok(Answer::html(&json!({"needed": world.stores.stemcells.needs(&name, &version)})))
}

pub(super) fn upload_stemcell(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let order = match asked.request.body_of("application/x-compressed") {
        Ok(archive) => UploadOrder::Stemcell(Arc::new(archive.to_vec())),
        Err(_) => UploadOrder::StemcellAt(read_body::<Location>(asked)?.location),
    };
    let task = world.enqueue("", &asked.caller.name, Work::Upload(order));
    Ok(Answer::task(asked.request, task))
}

pub(super) fn delete_stemcell(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let users = users_of(world, DeploymentRecord::stemcells);
    let deleted = world.stores.stemcells.delete(&path[1], &path[2], &users(&path[1], &path[2]));
    let task = world.at_once("delete stemcell", &asked.caller.name, deleted, asked.now);
    Ok(Answer::task(asked.request, task))
}

pub(super) fn variables(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    world.deployment(&path[1])?;
    Ok(Answer::html(&world.stores.variables.rows(&path[1])))
}

/// `GET /link_providers?deployment=`, `GET /link_consumers?deployment=` and `GET /links?deployment=`.
pub(super) fn links(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let missing = || DirectorError::new(400, 190_024, "Deployment name is required");
    let name = asked.request.param("deployment").ok_or_else(missing)?;
    let Some(resolved) = world.deployment(name)?.resolved.clone() else { return Ok(Answer::html(&json!([]))) };
    let ids = &mut |table, key| world.link_ids.of(table, key, asked.now);
    Ok(match path[0].as_str() {
        "link_providers" => Answer::html(&resolved.provider_rows(ids)),
        "link_consumers" => Answer::html(&resolved.consumer_rows(ids)),
        _ => Answer::html(&resolved.link_rows(ids)),
    })
}

/// The deployments that use a name and version, according to `uses`.
fn users_of<F>(world: &World, uses: F) -> impl Fn(&str, &str) -> Vec<String> + use<F>
where
    F: Fn(&DeploymentRecord) -> Vec<boshy_director::wire::NameVersion>,
{
    let used: Vec<_> = world.deployments.iter().map(|(name, record)| (name.clone(), uses(record))).collect();
    move |name, version| {
        let is_it = |row: &boshy_director::wire::NameVersion| row.name == name && row.version == version;
        used.iter().filter(|(_, rows)| rows.iter().any(is_it)).map(|(deployment, _)| deployment.clone()).collect()
    }
}
