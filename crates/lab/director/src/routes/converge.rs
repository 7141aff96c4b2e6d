//! Requests that change the state of instances or that need a VM's agent: states, single instances, logs, and requests
//! that this director refuses.

use serde_json::{Value, json};

use super::{Answer, Asked, Kind, World, deployments};
use crate::{
    DirectorError,
    world::{Action, Converge, DeployOrder, IsolatedOrder, SkipDrain, Target, Work},
};
use boshy_director::wire::{Config, ConfigVersion, DeploymentConfig};

/// `PUT /deployments/:name/jobs[/:group[/:id]]?state=`: deploys the present manifest with other states.
pub(super) fn change_state(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let request = asked.request;
    let record = world.deployment(&path[1])?;
    let (Some(text), Some(in_use)) = (record.manifest.clone(), record.in_use.clone()) else {
        let text = format!("Deployment '{}' was never deployed successfully, deploy it first", path[1]);
        return Err(DirectorError::new(400, 70_006, text).into());
    };
    let state = request.param("state").unwrap_or_default();
    let target =
        Target::parse(state).ok_or_else(|| DirectorError::new(400, 140_019, format!("Unknown state '{state}'")))?;
    let given = |index: usize| path.get(index).filter(|name| *name != "*").cloned();
    let (group, instance) = (given(3), given(4));
    if let Some(group) = &group
        && !record.instances.iter().any(|instance| instance.group == *group)
    {
        let text = format!("Instance group '{group}' doesn't exist in deployment '{}'", path[1]);
        return Err(DirectorError::new(404, 140_010, text).into());
    }
    if let (Some(group), Some(instance)) = (&group, &instance) {
        world.find(&path[1], group, instance)?;
    }
    let order = DeployOrder {
        configs: Some(in_use.configs),
        converge: Some(Converge { target, group, instance }),
        recreate: false,
        ..deployments::order(asked, text)
    };
    let task = world.enqueue(&path[1], &asked.caller.name, Work::Deploy(Box::new(order)));
    Ok(Answer::task(request, task))
}

/// `POST …/instance_groups/:group/:id/actions/:action` in a director with VMs.
pub(super) fn act(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let Some(action) = Action::parse(&path[6]) else {
        return Err(Answer::text(404, Kind::Html, format!("Endpoint '{}' not found.", asked.request.path)));
    };
    world.find(&path[1], &path[3], &path[4])?;
    let order = IsolatedOrder {
        action,
        group: path[3].clone(),
        instance: path[4].clone(),
        hard: asked.request.flag("hard"),
        skip_drain: SkipDrain::parse(asked.request.param("skip_drain")) != SkipDrain::None,
    };
    let task = world.enqueue(&path[1], &asked.caller.name, Work::Isolated(order));
    Ok(Answer::task(asked.request, task))
}

pub(super) fn logs(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    world.deployment(&path[1])?;
    let (group, instance) = (path[3].clone(), path[4].clone());
    let task = world.enqueue(&path[1], &asked.caller.name, Work::Logs { group, instance });
    Ok(Answer::task(asked.request, task))
}

/// `GET /resources/:id`: bytes that a task stored for download.
pub(super) fn resource(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    match world.blob(&path[1]) {
        Some(bytes) => Ok(Answer::text(200, Kind::Binary, bytes.to_vec())),
        None => Err(DirectorError::new(404, 100_001, format!("Could not find resource '{}'", path[1])).into()),
    }
}

pub(super) fn ssh(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    world.deployment(&path[1])?;
    Err(DirectorError::new(400, 70_007, asked.ssh_hint).into())
}

pub(super) fn errands(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let groups = &world.deployment(&path[1])?.wanted.instance_groups;
    let names = groups.iter().filter(|group| group.is_errand()).map(|group| json!({"name": group.name}));
    Ok(Answer::html(&names.collect::<Vec<Value>>()))
}

pub(super) fn run_errand(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    world.deployment(&path[1])?;
    let text = format!("Errand '{}' cannot be run: this director runs no errands", path[3]);
    Err(DirectorError::new(400, 510_000, text).into())
}

/// `GET /deployment_configs?deployment[]=NAME`.
pub(super) fn deployment_configs(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let names = asked.request.query.iter().filter(|(key, _)| key == "deployment[]").map(|(_, name)| name);
    let mut rows = Vec::new();
    for name in names {
        let Some((number, record)) = (1..).zip(&world.deployments).find(|(_, (known, _))| *known == name) else {
            continue;
        };
        let record = record.1;
        let configs = record.in_use.as_ref().map_or(&record.configs, |in_use| &in_use.configs);
        for id in configs.cloud.iter().chain(&configs.runtime) {
            if let (Some(Config { kind, name: config, .. }), Ok(id)) = (world.configs.version(id), id.parse()) {
                let config = ConfigVersion { id, kind: kind.clone(), name: config.clone() };
                rows.push(DeploymentConfig { id: number, deployment: name.clone(), config });
            }
        }
    }
    Ok(Answer::html(&rows))
}
