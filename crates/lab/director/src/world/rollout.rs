//! Determines in which order and how many at a time the instances of a group are updated. Pure.
//!
//! The update goes availability zone by zone; in the first one, the canaries precede the others. A number below one
//! instance counts as one.

use std::time::Duration;

use serde_json::Value;

use crate::{DirectorError, manifest::UpdateSettings};

/// Update settings of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) serial: bool,
    canaries: Amount,
    max_in_flight: Amount,
    pub(crate) canary_patience: Duration,
    pub(crate) patience: Duration,
}

/// Instances that are updated together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wave<T> {
    pub(crate) canary: bool,
    /// Number of instances at a time.
    pub(crate) width: usize,
    pub(crate) instances: Vec<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Number(usize),
    Percent(usize),
}

impl Amount {
    fn of(self, size: usize) -> usize {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => percent * size / 100,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().map(Self::Percent),
            None => text.parse().ok().map(Self::Number),
        }
    }
}

impl Rollout {
    /// From the manifest's `update` (that of the group overrides that of the deployment) and the parameters of the
    /// deploy request.
    pub(crate) fn new(
        update: Option<&UpdateSettings>,
        of_group: Option<&UpdateSettings>,
        canaries: Option<&str>,
        max_in_flight: Option<&str>,
    ) -> Result<Self, DirectorError> {
        let update = update.ok_or_else(|| missing("update"))?;
        let value = |name: &str, pick: fn(&UpdateSettings) -> Option<&Value>| {
            of_group.and_then(pick).or_else(|| pick(update)).ok_or_else(|| missing(name))
        };
        let serial = of_group.and_then(|own| own.serial).or(update.serial).unwrap_or(true);
        let given = |name, asked: Option<&str>, pick| match asked {
            Some(asked) => amount(name, &Value::from(asked)),
            None => amount(name, value(name, pick)?),
        };
        Ok(Self {
            serial,
            canaries: given("canaries", canaries, |own| own.canaries.as_ref())?,
            max_in_flight: given("max_in_flight", max_in_flight, |own| own.max_in_flight.as_ref())?,
            canary_patience: watch_time(value("canary_watch_time", |own| own.canary_watch_time.as_ref())?)?,
            patience: watch_time(value("update_watch_time", |own| own.update_watch_time.as_ref())?)?,
        })
    }

    /// Waves of the instances that need an update, given in order of their indexes. `size` is the size of the group.
    pub(crate) fn waves<T>(&self, instances: Vec<T>, size: usize, az: impl Fn(&T) -> Option<String>) -> Vec<Wave<T>> {
        let width = self.max_in_flight.of(size).max(1);
        let mut zones: Vec<(Option<String>, Vec<T>)> = Vec::new();
        for instance in instances {
            let zone = az(&instance);
            match zones.iter_mut().find(|(known, _)| *known == zone) {
                Some((_, members)) => members.push(instance),
                None => zones.push((zone, vec![instance])),
            }
        }
        let mut waves = Vec::new();
        for (number, (_, mut instances)) in zones.into_iter().enumerate() {
            let canaries = if number == 0 { self.canaries.of(size).min(instances.len()) } else { 0 };
            let rest = instances.split_off(canaries);
            waves.push(Wave { canary: true, width, instances });
            waves.push(Wave { canary: false, width, instances: rest });
        }
        waves.retain(|wave| !wave.instances.is_empty());
        waves
    }
}

fn missing(name: &str) -> DirectorError {
    DirectorError::new(400, 40_001, format!("Required property '{name}' was not specified in object"))
}

fn amount(name: &str, value: &Value) -> Result<Amount, DirectorError> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Amount::parse(&text).ok_or_else(|| {
        let text = format!("Property '{name}' value ('{text}') is neither a number nor a percentage");
        DirectorError::new(400, 40_000, text)
    })
}

/// Parses milliseconds, or a range of them, of which the longest is used.
fn watch_time(value: &Value) -> Result<Duration, DirectorError> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let longest = text.rsplit('-').next().and_then(|longest| longest.trim().parse().ok());
    longest
        .map(Duration::from_millis)
        .ok_or_else(|| DirectorError::new(400, 190_006, "Watch time should be an integer or a range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(canaries: &str, max_in_flight: &str) -> Rollout {
        let update: UpdateSettings = serde_json::from_value(serde_json::json!({
            "canaries": canaries, "max_in_flight": max_in_flight,
            "canary_watch_time": "1000-5000", "update_watch_time": 7000,
        }))
        .unwrap();
        Rollout::new(Some(&update), None, None, None).unwrap()
    }

    fn shown(rollout: &Rollout, zones: &[&str]) -> Vec<(bool, usize, Vec<usize>)> {
        let waves = rollout.waves((0..zones.len()).collect(), zones.len(), |index| Some(zones[*index].to_owned()));
        waves.into_iter().map(|wave| (wave.canary, wave.width, wave.instances)).collect()
    }

    #[test]
    fn canaries_go_first_and_then_zone_by_zone() {
        let expected = vec![(true, 2, vec![0]), (false, 2, vec![2, 3]), (false, 2, vec![1])];
        assert_eq!(shown(&rollout("1", "2"), &["z1", "z2", "z1", "z1"]), expected);
    }

    #[test]
    fn percentages_are_of_the_group_and_at_least_one_goes_at_a_time() {
        assert_eq!(shown(&rollout("0", "50%"), &["z1"; 5]), [(false, 2, vec![0, 1, 2, 3, 4])]);
        assert_eq!(shown(&rollout("10%", "10%"), &["z1"; 3]), [(false, 1, vec![0, 1, 2])]);
        assert_eq!(shown(&rollout("9", "1"), &["z1"; 2]), [(true, 1, vec![0, 1])]);
    }

    #[test]
    fn the_longest_watch_time_counts_and_what_is_missing_is_named() {
        let known = rollout("1", "1");
        assert_eq!((known.canary_patience, known.patience), (Duration::from_secs(5), Duration::from_secs(7)));
        let error = Rollout::new(None, None, None, None).unwrap_err();
        assert_eq!(
            (error.code, error.description.as_str()),
            (40_001, "Required property 'update' was not specified in object")
        );
        let update = UpdateSettings { canaries: Some(Value::from("many")), ..UpdateSettings::default() };
        assert_eq!(Rollout::new(Some(&update), None, None, None).unwrap_err().code, 40_000);
    }

    #[test]
    fn who_deploys_has_the_last_word() {
        let update = UpdateSettings {
            canary_watch_time: Some(Value::from(1)),
            update_watch_time: Some(Value::from(1)),
            ..UpdateSettings::default()
        };
        let asked = Rollout::new(Some(&update), None, Some("2"), Some("100%")).unwrap();
        assert_eq!(shown(&asked, &["z1"; 3]), [(true, 3, vec![0, 1]), (false, 3, vec![2])]);
    }
}
