use std::collections::VecDeque;

use super::*;

const PERIOD: Option<Duration> = Some(Duration::from_secs(300));

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn agenda(names: &[&str]) -> Agenda {
    let mut agenda = Agenda::new(at(300), at(3));
    agenda.keep(names.iter().copied(), at(0));
    agenda
}

/// An agenda of these names, each read at the start.
fn read(names: &[&str]) -> Agenda {
    let mut agenda = agenda(names);
    while let [_, ..] = agenda.begin(at(0), None)[..] {
        names.iter().for_each(|name| {
            agenda.end(name, Outcome::Good, at(0));
        });
    }
    agenda
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("d{number:04}")).collect()
}

fn names(numbered: &[String]) -> Vec<&str> {
    numbered.iter().map(String::as_str).collect()
}

#[test]
fn what_is_new_is_read_at_once_few_at_a_time() {
    let names: Vec<String> = numbered(10);
    let mut agenda = agenda(&self::names(&names));
    assert_eq!(agenda.begin(at(0), None).len(), AT_ONCE);
    assert_eq!(agenda.begin(at(1), None), [""; 0]);
    agenda.end("d0000", Outcome::Good, at(1));
    assert_eq!(agenda.begin(at(1), None), ["d0004"]);
    assert_eq!(agenda.begin(at(2), None).len(), 3, "those that take long have lost their places");
    assert_eq!(agenda.next_at(at(2), None), Some(at(2) + WAITING), "the others wait for one");
}

#[test]
fn what_is_never_answered_holds_up_nobody_else() {
    let names: Vec<String> = numbered(40);
    let mut agenda = read(&self::names(&names));
    // Five are reported, and their readings are not answered.
    names[..5].iter().for_each(|name| agenda.want(name, at(10), Duration::ZERO));
    assert_eq!(agenda.begin(at(10), None).len(), 4);
    assert_eq!(agenda.begin(at(12), None), ["d0004"]);
    agenda.want("d0030", at(13), Duration::ZERO);
    assert_eq!(agenda.begin(at(13), None), ["d0030"]);
    // They fail, and their reports no longer compete with those of others.
    names[..5].iter().for_each(|name| {
        agenda.end(name, Outcome::Wanting, at(40));
    });
    names[..5].iter().for_each(|name| agenda.want(name, at(50), Duration::ZERO));
    names[30..34].iter().for_each(|name| agenda.want(name, at(50), Duration::ZERO));
    let begun = agenda.begin(at(50), None);
    assert_eq!(begun.iter().filter(|name| name.as_str() < "d0005").count(), FAILING_AT_MOST);
    assert!(names[31..34].iter().all(|name| begun.contains(name)), "{begun:?}");
}

#[test]
fn the_pass_is_spread_over_its_period_and_comes_to_everybody_in_it() {
    let names: Vec<String> = numbered(1000);
    let mut agenda = read(&self::names(&names));
    let mut seen = BTreeMap::new();
    for tenth in 1..=3_000_u64 {
        let now = Duration::from_millis(tenth * 100);
        let begun = agenda.begin(now, PERIOD);
        assert!(begun.len() <= 1, "{begun:?}");
        for name in begun {
            assert_eq!(agenda.end(&name, Outcome::Good, now), Some(Reason::Pass));
            *seen.entry(name).or_insert(0) += 1;
        }
    }
    assert!(seen.len() >= 990, "{}", seen.len());
    assert!(seen.values().all(|count| *count == 1), "nobody twice");
}

#[test]
fn nothing_is_read_again_by_the_pass_before_everything_was_read_once() {
    let names: Vec<String> = numbered(20);
    let mut agenda = agenda(&self::names(&names));
    let mut asked = Vec::new();
    for second in 0..60 {
        let begun = agenda.begin(at(second), Some(at(30)));
        // Each takes no time, but the director gives one answer a second.
        asked.extend(begun);
        if let Some(name) = asked.get(usize::try_from(second).unwrap()).cloned() {
            agenda.end(&name, Outcome::Good, at(second));
        }
    }
    assert_eq!(asked[..20].iter().collect::<std::collections::BTreeSet<_>>().len(), 20, "{asked:?}");
    assert!(asked.len() > 20, "and then the pass begins");
}

#[test]
fn a_slow_pass_is_two_at_a_time_and_makes_up_for_nothing() {
    let names: Vec<String> = numbered(1000);
    let mut agenda = read(&self::names(&names));
    let begun: Vec<_> = (0..100).flat_map(|second| agenda.begin(at(second), PERIOD)).collect();
    assert_eq!(begun.len(), PASS_AT_MOST);
    agenda.want("d0500", at(100), Duration::ZERO);
    assert_eq!(agenda.begin(at(100), PERIOD), ["d0500"], "a report is not behind it");
    begun.iter().for_each(|name| {
        agenda.end(name, Outcome::Good, at(101));
    });
    assert_eq!(agenda.begin(at(101), PERIOD).len(), 1);
}

#[test]
fn one_deployment_is_read_once_in_a_period_and_sooner_when_the_period_gets_shorter() {
    let mut agenda = read(&["a"]);
    agenda.begin(at(0), PERIOD);
    agenda.end("a", Outcome::Good, at(0));
    let passes = |agenda: &mut Agenda, from: u64, until: u64, period: u64| {
        let read = (from..=until).filter(|second| {
            let is_read = !agenda.begin(at(*second), Some(at(period))).is_empty();
            agenda.end("a", Outcome::Good, at(*second));
            is_read
        });
        read.collect::<Vec<_>>()
    };
    assert_eq!(passes(&mut agenda, 1, 700, 300), [300, 600]);
    assert_eq!(passes(&mut agenda, 701, 900, 60), [761, 821, 881]);
}

#[test]
fn readings_that_leave_something_to_be_desired_are_repeated_ever_more_slowly() {
    let mut agenda = agenda(&["a"]);
    let mut read_at = Vec::new();
    for second in 0..=120 {
        if !agenda.begin(at(second), None).is_empty() {
            read_at.push(second);
            agenda.end("a", Outcome::Wanting, at(second));
        }
    }
    assert_eq!(read_at, [0, 1, 6, 16, 36, 76]);
    assert_eq!(pause(u32::MAX, at(300)), at(300));
}

#[test]
fn what_is_to_be_confirmed_is_read_again_soon_and_not_before() {
    let mut agenda = read(&["a"]);
    agenda.want("a", at(10), Duration::ZERO);
    agenda.begin(at(10), None);
    agenda.end("a", Outcome::Doubtful, at(10));
    assert_eq!(agenda.next_at(at(10), None), Some(at(13)));
    assert_eq!(agenda.begin(at(12), None), [""; 0]);
    assert_eq!(agenda.begin(at(13), None), ["a"]);
}

#[test]
fn steps_of_a_deploy_are_followed_now_and_then_and_its_end_at_once() {
    let mut agenda = read(&["a"]);
    let mut read_at = Vec::new();
    for second in 20..60 {
        let no_sooner = if second == 47 { Duration::ZERO } else { at(10) };
        agenda.want("a", at(second), no_sooner);
        if !agenda.begin(at(second), None).is_empty() {
            read_at.push(second);
            agenda.end("a", Outcome::Good, at(second));
        }
    }
    assert_eq!(read_at, [20, 30, 40, 47, 57]);
}

#[test]
fn news_of_what_is_being_read_makes_it_be_read_again() {
    let mut agenda = read(&["a"]);
    agenda.want("a", at(5), Duration::ZERO);
    assert_eq!(agenda.begin(at(5), None), ["a"]);
    agenda.want("a", at(6), Duration::ZERO);
    assert_eq!(agenda.begin(at(6), None), [""; 0]);
    agenda.end("a", Outcome::Good, at(7));
    assert_eq!(agenda.begin(at(7), None), ["a"]);
}

/// Number of readings that the pass begins in a minute, when each is answered after this time.
fn readings_in_a_minute(count: usize, answered_after: Duration) -> usize {
    let numbered = numbered(count);
    let mut agenda = read(&names(&numbered));
    let (period, mut now, mut readings, mut under_way) = (at(60), at(0), 0, VecDeque::new());
    while now < at(60) {
        while let Some((_, name)) = under_way.pop_front_if(|(ends, _): &mut (Duration, String)| *ends <= now) {
            agenda.end(&name, Outcome::Good, now);
        }
        let begun = agenda.begin(now, Some(period));
        readings += begun.len();
        under_way.extend(begun.into_iter().map(|name| (now + answered_after, name)));
        let next = agenda.next_at(now, Some(period)).into_iter();
        now = next.chain(under_way.front().map(|(ends, _)| *ends)).min().unwrap();
    }
    readings
}

#[test]
fn the_pass_costs_one_reading_of_each_in_its_period_and_less_when_the_director_is_slower_than_that() {
    for (answered_after, expected) in [(1, 100), (500, 100), (3_000, 40)] {
        let readings = readings_in_a_minute(100, Duration::from_millis(answered_after));
        assert!(readings.abs_diff(expected) <= 2, "{readings} with answers after {answered_after} ms");
    }
}
