//! Finds `expose_ports` keys that have no effect, and reports their place and where they belong.

use boshy_mesh::{Place, Problem};

use super::reader::{EXPOSE_PORTS, Reader};
use boshy_yaml::{Document, Shape, Step, View};

/// Number of such problems that are named for one manifest; the others are of the same kind.
const MAX_NAMED: usize = 20;
/// Maximum number of differing letters for a key to count as misspelt.
const MAX_DISTANCE: usize = 2;

/// Reports every such key that the reader has not used.
pub(super) fn name(reader: &mut Reader<'_>, document: &Document) {
    let mut named = 0;
    for key in document.keys() {
        let (is_it, is_like_it) = (key.is_text(EXPOSE_PORTS), resembles(key));
        if !(is_it || is_like_it) || reader.used.contains(&key.node()) {
            continue;
        }
        let path = document.path(key);
        // Elsewhere, a key that is only similar may have a meaning for a job.
        if !is_it && !stands_at_a_job_or_group(&path) {
            continue;
        }
        named += 1;
        if named > MAX_NAMED {
            return;
        }
        let belongs = belongs(&reader.place);
        reader.problems.push(Problem::new(place(&reader.place, &path), reason(is_it, &path, belongs)));
    }
}

/// Where the key belongs in a manifest or a config.
fn belongs(place: &Place) -> &'static str {
    if place.config.is_some() {
        return "it belongs to a job of an addon, beside the job's name: `addons[].jobs[].expose_ports`";
    }
    "it belongs to a job of an instance group, beside the job's name: `instance_groups[].jobs[].expose_ports`"
}

fn reason(is_it: bool, path: &[Step<'_>], belongs: &str) -> String {
    let keys: Vec<_> =
        path.iter().filter_map(|step| if let Step::Key(key) = step { key.key() } else { None }).collect();
    match () {
        () if !is_it => format!("is not known; `{EXPOSE_PORTS}` is, and {belongs}"),
        () if keys.iter().any(|key| key == "properties") => {
            format!("has no effect among properties, which are the job's own; {belongs}")
        }
        () if keys.len() >= 3 && keys[1] == "jobs" => {
            "has no effect: the same key stands here again, and the last one counts".to_owned()
        }
        () => format!("has no effect here; {belongs}"),
    }
}

/// Whether a path is `instance_groups[..].KEY` or `instance_groups[..].jobs[..].KEY`, or the same for addons.
fn stands_at_a_job_or_group(path: &[Step<'_>]) -> bool {
    let is = |step: &Step<'_>, name: &str| matches!(step, Step::Key(key) if key.is_text(name));
    let is_top = |step: &Step<'_>| is(step, "instance_groups") || is(step, "addons");
    match path {
        [top, Step::Item(..), Step::Key(_)] => is_top(top),
        [top, Step::Item(..), jobs, Step::Item(..), Step::Key(_)] => is_top(top) && is(jobs, "jobs"),
        _ => false,
    }
}

/// Whether a key resembles the right one: `expose_port`, `exposed-ports`, `exposePorts`.
fn resembles(key: View<'_>) -> bool {
    let Some(text) = key.short_text() else { return false };
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-', ' '], "");
    text != EXPOSE_PORTS && strsim::levenshtein(&plain(text), &plain(EXPOSE_PORTS)) <= MAX_DISTANCE
}

fn place(document: &Place, path: &[Step<'_>]) -> Place {
    let mut place = document.clone();
    let mut rest = path;
    if let [Step::Key(top), Step::Item(_, item), more @ ..] = path
        && let Some(name) = name_of(*item)
    {
        let is_group = top.is_text("instance_groups");
        if is_group || top.is_text("addons") {
            place = if is_group { place.group(name) } else { place.addon(name) };
            rest = more;
            if let [Step::Key(jobs), Step::Item(_, job), more @ ..] = more
                && jobs.is_text("jobs")
                && let Some(name) = name_of(*job)
            {
                place = place.job(name);
                rest = more;
            }
        }
    }
    let mut key = String::new();
    for step in rest {
        match step {
            Step::Item(position, _) => key += &format!("[{position}]"),
            Step::Key(view) => {
                key += if key.is_empty() { "" } else { "." };
                key += &view.key().unwrap_or_else(|| "?".to_owned());
            }
        }
    }
    place.key(key)
}

fn name_of(view: View<'_>) -> Option<String> {
    match view.shape() {
        Shape::Map(map) => map.get("name")?.value.text(),
        _ => None,
    }
}
