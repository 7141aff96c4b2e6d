//! Instances and VMs of a deployment.

use super::{Answer, Asked, World, converge};
use crate::world::{DeploymentRecord, Instance, Work};
use boshy_director::wire::FullRow;

pub(super) fn instances(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    if wants_agents(asked) {
        if world.has_vms {
            return ask_agents(world, asked, &path[1], false);
        }
        return full(world, asked, &path[1], |_| true);
    }
    let record = world.deployment(&path[1])?;
    if let Some(shown) = &record.shown_instances {
        return Ok(Answer::html(shown));
    }
    let rows: Vec<_> = record.instances.iter().map(Instance::row).collect();
    Ok(Answer::html(&rows))
}

pub(super) fn vms(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    if wants_agents(asked) {
        if world.has_vms {
            return ask_agents(world, asked, &path[1], true);
        }
        return full(world, asked, &path[1], |instance| instance.vm.is_some());
    }
    let rows: Vec<_> = world.deployment(&path[1])?.instances.iter().filter_map(Instance::vm_row).collect();
    Ok(Answer::html(&rows))
}

pub(super) fn job(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let index = world.find(&path[1], &path[3], &path[4])?;
    let instance = &world.deployment(&path[1])?.instances[index];
    Ok(Answer::html(&instance.job_row(&path[1])))
}

/// On paper, only actions that change the director's tables have an effect.
pub(super) fn action(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    if world.has_vms {
        return converge::act(world, asked, path);
    }
    let (at, user) = ((path[1].as_str(), path[3].as_str(), path[4].as_str()), &asked.caller.name);
    let task = match path[6].as_str() {
        "stop" if asked.request.flag("hard") => world.stop_hard(at, user, asked.now)?,
        "start" => world.start(at, user, asked.now)?,
        _ => return Err(Answer::text(404, super::Kind::Html, format!("Endpoint '{}' not found.", asked.request.path))),
    };
    Ok(Answer::task(asked.request, task))
}

fn wants_agents(asked: &Asked<'_>) -> bool {
    asked.request.param("format") == Some("full")
}

fn ask_agents(world: &mut World, asked: &Asked<'_>, name: &str, only_vms: bool) -> Result<Answer, Answer> {
    world.deployment(name)?;
    let task = world.enqueue(name, &asked.caller.name, Work::Agents { only_vms });
    Ok(Answer::task(asked.request, task))
}

/// On paper: queries every agent, which a director does in a task; the result has a row for each instance.
fn full(
    world: &mut World,
    asked: &Asked<'_>,
    name: &str,
    is_wanted: impl Fn(&Instance) -> bool,
) -> Result<Answer, Answer> {
    let record: &DeploymentRecord = world.deployment(name)?;
    let rows = record.instances.iter().filter(|instance| is_wanted(instance)).map(|instance| instance.full_row(record));
    let lines = rows.map(|row: FullRow| serde_json::to_string(&row).map(|line| line + "\n"));
    let output = lines.collect::<Result<String, _>>().map_err(|_| Answer::text(500, super::Kind::Html, ""))?;
    let task = world.report("retrieve vm-stats", name, &asked.caller.name, output, asked.now);
    Ok(Answer::task(asked.request, task))
}
