//! Reports what the agent lacks: a pilot, an Envoy, rules, a route, a disk.
//!
//! Each lack is a normal state that ends on its own. It is logged when it begins, changes and ends, but not while it
//! lasts.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use boshy_supervision::Heart;
use boshy_web::status::Lack;
use tokio::time::interval;
use tracing::{info, warn};

use crate::{
    agent_report::{Reports, Want},
    clock,
};

/// Also the time that the agent has after its start to find everything.
const PERIOD: Duration = Duration::from_secs(1);

/// Inputs and output of the lookout; they outlive the task.
#[derive(Clone)]
pub(crate) struct LookoutParts {
    /// Sources to check.
    pub(crate) reports: Arc<Reports>,
    /// What is missing. This task is the only writer.
    pub(crate) lacking: Arc<ArcSwap<Vec<Lack>>>,
}

/// Checks once per period, forever.
pub(crate) async fn look_out(parts: LookoutParts, heart: Heart) {
    let mut periods = interval(PERIOD);
    loop {
        periods.tick().await;
        heart.beat();
        parts.look();
    }
}

impl LookoutParts {
    fn look(&self) {
        let Self { reports, lacking } = self;
        let before = lacking.load();
        let now = compare(&before, reports.wanting(), clock::now().0);
        if now == **before {
            return;
        }
        for lack in now.iter().filter(|lack| !before.contains(lack)) {
            warn!(what = lack.what, reason = lack.reason, remedy = lack.remedy, "doing without");
        }
        for lack in before.iter().filter(|old| now.iter().all(|lack| lack.what != old.what)) {
            info!(what = lack.what, "no longer doing without");
        }
        lacking.store(Arc::new(now));
    }
}

/// The current lacks.
fn compare(before: &[Lack], wanting: Vec<Want>, now: u64) -> Vec<Lack> {
    let lack = |Want { what, reason, remedy }| Lack { what, since: now, reason, remedy }.lasting(before);
    wanting.into_iter().map(lack).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(what: &'static str, reason: &str) -> Want {
        Want { what, reason: reason.to_owned(), remedy: "Mend it.".to_owned() }
    }

    #[test]
    fn what_lasts_keeps_its_time_and_what_is_there_again_is_forgotten() {
        let first = compare(&[], vec![want("pilot", "refused"), want("envoy", "away")], 100);
        assert_eq!(
            first.iter().map(|lack| (lack.what, lack.since)).collect::<Vec<_>>(),
            [("pilot", 100), ("envoy", 100)]
        );
        let second = compare(&first, vec![want("pilot", "no name"), want("rules", "no right")], 200);
        let seen = second.iter().map(|lack| (lack.what, lack.since, &*lack.reason)).collect::<Vec<_>>();
        assert_eq!(seen, [("pilot", 100, "no name"), ("rules", 200, "no right")]);
        assert_eq!(compare(&second, vec![], 300), []);
    }
}
