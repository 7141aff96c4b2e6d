//! Sends the observer's queries to a director. It makes no decisions.

use std::collections::BTreeSet;

use boshy_mesh::CONFIG_TYPE;

use super::{AppliedConfigs, ConfigsReading, DirectorQuery, DirectorReply, Reading};
use crate::client::{ClientError, DirectorClient};

/// Sends one query. A request takes at most the client's time-out. A query is at most six requests in addition to a
/// login, and one for each unknown version of a runtime config.
pub async fn ask(client: &DirectorClient, query: DirectorQuery) -> DirectorReply {
    match query {
        DirectorQuery::Deployments => DirectorReply::Deployments(client.every_deployment().await),
        DirectorQuery::Events { after } => DirectorReply::Events(client.dated_events(after).await),
        DirectorQuery::Tasks { limit, of_every_kind } => {
            let tasks = client.ended_tasks(limit, of_every_kind).await;
            DirectorReply::Tasks { limit, of_every_kind, tasks }
        }
        DirectorQuery::Configs => {
            let (runtime, cloud) = (client.configs("runtime").await, client.configs("cloud").await);
            DirectorReply::Configs(ConfigsReading { runtime, cloud, mesh: client.configs(CONFIG_TYPE).await })
        }
        DirectorQuery::Deployment(name) => {
            let reading = deployment(client, &name).await;
            DirectorReply::Deployment(name, reading)
        }
        DirectorQuery::DeploymentWithConfigs(name, known) => {
            let reading = deployment(client, &name).await;
            let configs = Some(configs_of(client, &name, &known).await);
            DirectorReply::Deployment(name, Reading { configs, ..reading })
        }
        DirectorQuery::WithLinks(query) => match Box::pin(ask(client, *query)).await {
            DirectorReply::Deployment(name, reading) => {
                let links = Some(client.links(&name).await);
                DirectorReply::Deployment(name, Reading { links, ..reading })
            }
            other => other,
        },
    }
}

async fn deployment(client: &DirectorClient, name: &str) -> Reading {
    // In this order, instances are at least as new as the manifest with their groups.
    let manifest = client.manifest(name).await;
    let instances = client.instances(name).await;
    Reading { manifest, instances, configs: None, links: None }
}

async fn configs_of(client: &DirectorClient, name: &str, known: &BTreeSet<u64>) -> Result<AppliedConfigs, ClientError> {
    let configs = client.configs_of(name).await?.into_iter().map(|row| row.config);
    let runtime = configs.filter(|config| config.kind == "runtime");
    let versions: Vec<(u64, String)> = runtime.map(|config| (config.id, config.name)).collect();
    let mut unknown = Vec::new();
    for (id, _) in versions.iter().filter(|(id, _)| !known.contains(id)) {
        match client.config(*id).await {
            Ok(config) => unknown.push(config),
            // A deleted version is not shown, even while deployments use it.
            Err(error) if error.is_not_there() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(AppliedConfigs { versions, unknown })
}
