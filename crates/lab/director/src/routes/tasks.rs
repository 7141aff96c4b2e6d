//! `/tasks` and `/locks`.

use std::cmp::Reverse;

use super::{Answer, Asked, Kind, World};
use crate::{DirectorError, world::TaskRecord};
use boshy_director::wire::Task;

/// Running tasks come first, then ended ones, the last to end first. Without `limit`, all are returned; with `verbose`
/// below 2, only work ordered by people.
pub(super) fn list(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let request = asked.request;
    let states: Option<Vec<&str>> = request.param("state").map(|states| states.split(',').collect());
    let all = request.param("verbose") == Some("2");
    let limit = request.param("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let teams = |record: &TaskRecord| {
        let deployment = record.task.deployment.as_ref().and_then(|name| world.deployments.get(name));
        deployment.map_or(&[][..], |deployment| deployment.teams.as_slice())
    };
    let is_wanted = |record: &&TaskRecord| {
        let state = serde_json::to_value(record.task.state).unwrap_or_default();
        (all || record.listed)
            && states.as_ref().is_none_or(|states| states.iter().any(|wanted| state == *wanted))
            && request.param("deployment").is_none_or(|name| record.task.deployment.as_deref() == Some(name))
            && asked.is_shown(teams(record))
    };
    let mut tasks: Vec<&Task> = world.journal.tasks.iter().rev().filter(is_wanted).map(|record| &record.task).collect();
    tasks.sort_by_key(|task| Reverse(task.timestamp.unwrap_or(i64::MAX)));
    tasks.truncate(limit);
    Ok(Answer::json(&tasks))
}

pub(super) fn one(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    Ok(Answer::json(&find(world, &path[1])?.task))
}

/// `Range: bytes=N-` returns what is new since the last request.
pub(super) fn output(world: &mut World, asked: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let record = find(world, &path[1])?;
    let debug;
    let output = match asked.request.param("type") {
        Some("event") => &record.event_output,
        Some("result") => &record.result_output,
        Some("none") => "",
        _ => {
            debug = debug_output(record);
            &debug
        }
    };
    let Some(from) = asked.request.range_from else {
        let status = if output.is_empty() { 204 } else { 200 };
        return Ok(Answer::text(status, Kind::Html, output));
    };
    let total = output.len();
    if from >= total {
        let content_range = Some(format!("bytes */{total}"));
        return Ok(Answer { content_range, ..Answer::text(416, Kind::Html, "") });
    }
    let content_range = Some(format!("bytes {from}-{}/{total}", total - 1));
    Ok(Answer { content_range, ..Answer::text(206, Kind::Html, &output.as_bytes()[from..]) })
}

/// A director's log is not kept here: the output contains only what is otherwise known of the task.
fn debug_output(record: &TaskRecord) -> String {
    let Task { id, description, user, .. } = &record.task;
    let mut lines = format!("Task {id}: {description}, for {user}\n{}", record.event_output);
    if let Some(error) = &record.error {
        lines += &format!("Task {id}: {error}\n");
    }
    lines
}

pub(super) fn cancel(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let Task { id, state, .. } = find(world, &path[1])?.task.clone();
    if world.journal.cancel_task(id) {
        return Ok(Answer::text(204, Kind::Html, ""));
    }
    let state = serde_json::to_value(state).unwrap_or_default();
    let text = format!("Cannot cancel task {id}: invalid state ({})", state.as_str().unwrap_or_default());
    Err(Answer::text(400, Kind::Html, text))
}

pub(super) fn locks(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    Ok(Answer::json(&world.locks(asked.now)))
}

fn find<'a>(world: &'a World, id: &str) -> Result<&'a TaskRecord, Answer> {
    let record = id.parse().ok().and_then(|id| world.journal.task(id));
    Ok(record.ok_or_else(|| DirectorError::no_task(id))?)
}
