//! When a second Envoy may take the place of the first.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::admin::Admin;

/// Interval of looks at the second Envoy.
const PERIOD: Duration = Duration::from_millis(100);
/// Longest time that the second Envoy may need. Where no agent serves, it never gets the listeners.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until the second Envoy is live and has every listener of the first. Returns whether it got so far in time.
pub(crate) async fn settled(first: Admin, second: Admin) -> bool {
    let deadline = Instant::now() + LONGEST;
    loop {
        if second.is_live().await && replaces(first.listeners().await.as_ref(), second.listeners().await.as_ref()) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(PERIOD).await;
    }
}

/// Whether nothing is missed when the second takes the place of the first. A first one that does not answer cannot be
/// compared, and serves nobody.
fn replaces(first: Option<&BTreeSet<String>>, second: Option<&BTreeSet<String>>) -> bool {
    second.is_some_and(|second| first.is_none_or(|first| first.is_subset(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_envoy_needs_every_listener_of_the_first() {
        let of = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let (virtual_only, both) = (of(&["virtual"]), of(&["virtual", "mesh"]));
        assert!(replaces(Some(&virtual_only), Some(&both)));
        assert!(!replaces(Some(&both), Some(&virtual_only)));
        assert!(replaces(None, Some(&virtual_only)), "the first does not answer");
        assert!(!replaces(Some(&virtual_only), None) && !replaces(None, None));
    }
}
