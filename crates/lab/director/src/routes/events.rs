//! `/events`.

use super::{Answer, Asked, Kind, World};
use boshy_director::wire::Event;

const PAGE: usize = 200;

/// The newest events that pass all filters, newest first. `after_time` counts whole seconds: it selects events of a
/// later second.
pub(super) fn list(world: &mut World, asked: &Asked<'_>, _: &[String]) -> Result<Answer, Answer> {
    let request = asked.request;
    let before_time = time(asked, "before")?;
    let after_time = time(asked, "after")?;
    let before_id: Option<u64> = request.param("before_id").and_then(|id| id.parse().ok());
    let same = |name: &str, value: Option<&str>| request.param(name).is_none_or(|wanted| value == Some(wanted));
    let is_wanted = |event: &&Event| {
        before_time.is_none_or(|before| event.timestamp < before)
            && after_time.is_none_or(|after| event.timestamp > after)
            && before_id.is_none_or(|before| event.id.parse::<u64>().is_ok_and(|id| id < before))
            && same("task", event.task.as_deref())
            && same("deployment", event.deployment.as_deref())
            && same("instance", event.instance.as_deref())
            && same("user", Some(&event.user))
            && same("action", Some(&event.action))
            && same("object_type", Some(&event.object_type))
            && same("object_name", event.object_name.as_deref())
    };
    Ok(Answer::json(&world.journal.events.iter().rev().filter(is_wanted).take(PAGE).collect::<Vec<_>>()))
}

pub(super) fn one(world: &mut World, _: &Asked<'_>, path: &[String]) -> Result<Answer, Answer> {
    let event = world.journal.events.iter().find(|event| event.id == path[1]);
    event.map(Answer::json).ok_or_else(|| Answer::text(404, Kind::Json, "Event not found"))
}

/// Parses seconds since 1970. A real director also parses dates as text.
fn time(asked: &Asked<'_>, side: &str) -> Result<Option<i64>, Answer> {
    let Some(written) = asked.request.param(&format!("{side}_time")) else { return Ok(None) };
    let wrong = |_| Answer::text(400, Kind::Json, format!("Invalid {side} parameter: '{written}' "));
    written.parse().map(Some).map_err(wrong)
}
