use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(20);
const SETTINGS: PickerSettings = PickerSettings {
    backoff: Backoff { first: SECOND, longest: LONGEST, jitter: 0.5 },
    settled: Duration::from_secs(30),
    look: Backoff { first: Duration::from_secs(40), longest: Duration::from_secs(160), jitter: 0.5 },
};

fn picker(pilots: &[&'static str]) -> PilotPicker<&'static str> {
    PilotPicker::new(pilots.to_vec(), SETTINGS).unwrap()
}

#[test]
fn without_pilots_there_is_nothing_to_pick() {
    assert!(PilotPicker::<&str>::new(vec![], SETTINGS).is_none());
}

#[test]
fn the_next_pilot_follows_at_once_and_a_failed_round_makes_the_next_one_wait() {
    let mut picker = picker(&["a", "b"]);
    assert_eq!(picker.first(), Attempt { pause: Duration::ZERO, pilot: "a" });
    let mut attempts = Vec::new();
    for _ in 0..8 {
        let attempt = picker.after(Duration::ZERO, 0.0);
        attempts.push((attempt.pilot, attempt.pause.as_secs()));
    }
    let expected = [("b", 1), ("a", 1), ("b", 1), ("a", 2), ("b", 1), ("a", 4), ("b", 1), ("a", 8)];
    assert_eq!(attempts, expected);
}

#[test]
fn a_stream_that_lived_starts_a_fresh_count() {
    let mut picker = picker(&["a"]);
    for _ in 0..10 {
        picker.after(Duration::ZERO, 0.0);
    }
    assert_eq!(picker.after(Duration::ZERO, 0.0).pause, LONGEST);
    assert_eq!(picker.after(SETTINGS.settled, 0.0).pause, SECOND);
}

#[test]
fn a_stream_that_dies_young_counts_as_a_failure() {
    let mut picker = picker(&["a"]);
    let pauses: Vec<_> = (0..3).map(|_| picker.after(SETTINGS.settled - SECOND, 0.0).pause.as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4]);
}

#[test]
fn a_preferred_pilot_that_is_back_is_tried_at_once_and_one_that_does_not_keep_the_stream_ever_less_often() {
    let mut picker = picker(&["a", "b", "c"]);
    let mut looks = Vec::new();
    for _ in 0..4 {
        assert_eq!(picker.after(Duration::ZERO, 0.0).pilot, "b");
        looks.push(picker.look(0.0).as_secs());
        assert_eq!(picker.back_to(&"a"), Attempt { pause: Duration::ZERO, pilot: "a" });
    }
    assert_eq!(looks, [40, 80, 160, 160]);
    picker.after(SETTINGS.settled, 0.0);
    assert_eq!(picker.look(1.0), Duration::from_secs(20), "it kept the stream");
}

proptest! {
    #[test]
    fn every_pilot_has_its_turn_and_pauses_grow_from_round_to_round_up_to_the_cap(
        pilots in 1_usize..5,
        // Successes are rare, so that pauses reach the cap.
        lives in proptest::collection::vec((prop_oneof![30 => 0_u64..30, 1 => 30_u64..60], 0.0..=1.0_f64), 1..200),
    ) {
        let mut picker = PilotPicker::new((0..pilots).collect(), SETTINGS).unwrap();
        let mut expected = picker.first().pilot;
        let (mut failures, mut longest) = (0, SECOND);
        for (lived, random) in lives {
            let attempt = picker.after(Duration::from_secs(lived), random);
            expected = (expected + 1) % pilots;
            prop_assert_eq!(attempt.pilot, expected);
            if lived >= SETTINGS.settled.as_secs() {
                (failures, longest) = (0, SECOND);
            }
            failures += 1;
            if failures % pilots == 0 {
                prop_assert!((longest / 2..=longest).contains(&attempt.pause), "{:?} of {longest:?}", attempt.pause);
                longest = (longest * 2).min(LONGEST);
            } else {
                prop_assert!(attempt.pause <= SECOND, "{:?} within a round", attempt.pause);
            }
        }
    }
}
