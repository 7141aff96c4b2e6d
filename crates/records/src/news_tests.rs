use boshy_mesh::{Address, Deployment, GroupNetwork, Instance, InstanceGroup};
use proptest::prelude::*;

use super::*;

/// `ID AGENT IP`, in the group `web` of `shop`.
type Line = (&'static str, &'static str, &'static str);

fn record((id, agent, ip): Line) -> Record {
    Record {
        id: id.into(),
        num_id: String::new(),
        instance_group: "web".into(),
        group_ids: Vec::new(),
        az: Some("z1".into()),
        az_id: None,
        network: "default".into(),
        network_id: String::new(),
        deployment: "shop".into(),
        address: Address::parse(ip).unwrap(),
        domain: "bosh".into(),
        agent_id: Some(agent.into()).filter(|agent: &String| !agent.is_empty()),
        index: Some(0),
    }
}

fn file(version: u64, lines: &[Line]) -> Records {
    Records { version, rows: lines.iter().copied().map(record).collect(), ..Records::default() }
}

fn instance((id, agent, ip): Line) -> Instance {
    Instance {
        group: "web".into(),
        index: Some(0),
        id: id.into(),
        az: Some("z1".into()),
        ips: Address::parse(ip).into_iter().collect(),
        expects_vm: true,
        agent_id: Some(agent.into()).filter(|agent: &String| !agent.is_empty()),
        vm_created_at: Some(1),
        ..Instance::default()
    }
}

fn told(lines: &[Line]) -> Arc<Inventory> {
    let network = GroupNetwork { name: "default".into(), ..GroupNetwork::default() };
    let web = InstanceGroup { name: "web".into(), networks: vec![network], ..InstanceGroup::default() };
    let mut instances: Vec<_> = lines.iter().copied().map(instance).collect();
    instances.sort();
    let shop = Deployment { name: "shop".into(), groups: vec![web], instances, ..Deployment::default() };
    Arc::new(Inventory { deployments: vec![shop], ..Inventory::default() })
}

fn asked(seconds: i64) -> Readings {
    Readings::from([("shop".to_owned(), at(seconds))])
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1000)
}

/// A file that was first read at second 0 with the first lines, and at second 10 with the others.
fn changed(before: &[Line], after: &[Line]) -> RecordsNews {
    let mut news = RecordsNews::default();
    assert!(news.take(file(1, before), at(0), Timestamp(0)).is_empty(), "the beginning is no change");
    news.take(file(2, after), at(10), Timestamp(10));
    news
}

/// `ID AGENT IPS` of the instances.
fn shown(news: &mut RecordsNews, inventory: &Arc<Inventory>, readings: &Readings) -> Vec<String> {
    let applied = news.applied(Arc::clone(inventory), readings);
    let ips = |one: &Instance| one.ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let line = |one: &Instance| format!("{} {} {}", one.id, one.agent_id.as_deref().unwrap_or("-"), ips(one));
    let mut lines: Vec<_> = applied.deployments[0].instances.iter().map(line).collect();
    lines.sort();
    lines
}

const A: Line = ("a", "a1", "10.0.0.1");
const B: Line = ("b", "b1", "10.0.0.2");

#[test]
fn new_moved_and_deleted_instances_are_taken_until_the_director_says_the_same() {
    let moved = ("a", "a2", "10.0.0.9");
    let cases: [(&[Line], &[Line], &[&str]); 3] = [
        (&[A], &[A, B], &["a a1 10.0.0.1", "b b1 10.0.0.2"]),
        (&[A, B], &[moved, B], &["a a2 10.0.0.9", "b b1 10.0.0.2"]),
        (&[A, B], &[B], &["b b1 10.0.0.2"]),
    ];
    for (before, after, expected) in cases {
        let mut news = changed(before, after);
        assert_eq!(shown(&mut news, &told(before), &asked(5)), expected);
        assert_eq!(news.open(), 1);
        assert_eq!(shown(&mut news, &told(after), &asked(11)), expected);
        assert_eq!(news.open(), 0, "it is confirmed");
    }
}

#[test]
fn the_director_wins_when_it_was_asked_later_or_knows_a_state_that_the_file_never_showed() {
    let mut news = changed(&[A], &[A, B]);
    assert_eq!(shown(&mut news, &told(&[A]), &asked(10)), ["a a1 10.0.0.1"], "it came and went");
    let third = ("a", "a3", "10.0.0.3");
    let mut news = changed(&[A, B], &[("a", "a2", "10.0.0.9"), B]);
    assert_eq!(shown(&mut news, &told(&[third, B]), &asked(5)), ["a a3 10.0.0.3", "b b1 10.0.0.2"], "the file is late");
    let stopped = ("a", "", "");
    let mut news = changed(&[A, B], &[("a", "a2", "10.0.0.9"), B]);
    assert_eq!(shown(&mut news, &told(&[stopped, B]), &asked(5)), ["a - ", "b b1 10.0.0.2"], "it was stopped");
}

#[test]
fn a_director_that_still_shows_the_vm_before_is_believed_after_a_while() {
    let mut news = changed(&[A, B], &[("a", "a2", "10.0.0.9"), B]);
    for (second, expected) in
        [(11, "a a2 10.0.0.9"), (19, "a a2 10.0.0.9"), (20, "a a1 10.0.0.1"), (99, "a a1 10.0.0.1")]
    {
        assert_eq!(shown(&mut news, &told(&[A, B]), &asked(second))[0], expected, "asked at {second}");
    }
    let mut news = changed(&[A, B], &[("a", "a2", "10.0.0.9"), B]);
    assert_eq!(shown(&mut news, &told(&[A, B]), &Readings::new())[0], "a a2 10.0.0.9", "it does not answer");
}

#[test]
fn an_answer_that_was_asked_for_before_takes_nothing_back() {
    let mut news = changed(&[A, B], &[("a", "a3", "10.0.0.9"), B]);
    assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5))[0], "a a3 10.0.0.9");
    // The file skipped this one.
    assert_eq!(shown(&mut news, &told(&[("a", "a2", "10.0.0.8"), B]), &asked(9))[0], "a a3 10.0.0.9");
    assert_eq!(shown(&mut news, &told(&[("a", "a4", "10.0.0.4"), B]), &asked(10))[0], "a a4 10.0.0.4");
}

#[test]
fn a_swap_of_addresses_is_one_change() {
    let mut news = changed(&[A, B], &[("a", "a2", "10.0.0.2"), ("b", "b2", "10.0.0.1")]);
    assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5)), ["a a2 10.0.0.2", "b b2 10.0.0.1"]);
    let mut news = changed(&[A, B], &[("c", "c1", "10.0.0.1"), B]);
    assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5)), ["b b1 10.0.0.2", "c c1 10.0.0.1"]);
}

#[test]
fn an_address_that_the_director_gives_to_another_instance_leads_to_no_instance_of_the_file_alone() {
    let later = ("c", "c1", "10.0.0.9");
    let mut news = changed(&[A, B], &[("a", "a2", "10.0.0.9"), B]);
    assert_eq!(shown(&mut news, &told(&[A, B, later]), &asked(5)), ["a a2 ", "b b1 10.0.0.2", "c c1 10.0.0.9"]);
}

#[test]
fn the_last_instances_of_a_group_stay_until_the_director_says_that_they_are_gone() {
    let mut news = changed(&[A, B], &[]);
    assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5)).len(), 2, "the file is empty");
    let mut news = changed(&[A, B], &[B]);
    news.take(file(3, &[]), at(11), Timestamp(11));
    assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5)), ["b b1 10.0.0.2"]);
    assert!(shown(&mut news, &told(&[]), &asked(12)).is_empty());
}

#[test]
fn what_the_file_does_not_say_waits_for_the_director() {
    let other_group = Record { instance_group: "db".into(), ..record(("c", "c1", "10.0.0.3")) };
    let other_deployment = Record { deployment: "blog".into(), ..record(("c", "c1", "10.0.0.3")) };
    let other_network = Record { network: "other".into(), ..record(("c", "c1", "10.0.0.3")) };
    let no_agent = record(("c", "", "10.0.0.3"));
    for odd in [other_group, other_deployment, other_network, no_agent] {
        let mut news = RecordsNews::default();
        news.take(file(1, &[A]), at(0), Timestamp(0));
        let mut next = file(2, &[A]);
        next.rows.push(odd.clone());
        assert_eq!(news.take(next, at(10), Timestamp(10)), BTreeSet::from([odd.deployment]), "it is to be looked at");
        assert_eq!(shown(&mut news, &told(&[A]), &asked(5)), ["a a1 10.0.0.1"]);
    }
}

#[test]
fn names_are_compared_as_bosh_writes_them_in_dns() {
    let mut news = changed(&[A], &[A, B]);
    let mut inventory = Inventory::clone(&told(&[A]));
    let shop = &mut inventory.deployments[0];
    (shop.name, shop.groups[0].name, shop.groups[0].networks[0].name) =
        ("Shop".into(), "WEB".into(), "De.fault".into());
    shop.instances[0].group = "WEB".into();
    let applied = news.applied(Arc::new(inventory), &Readings::new());
    let groups: Vec<_> = applied.deployments[0].instances.iter().map(|instance| &*instance.group).collect();
    assert_eq!(groups, ["WEB", "WEB"]);
}

#[test]
fn an_older_version_changes_nothing_and_later_ones_are_compared_with_it() {
    let mut news = RecordsNews::default();
    news.take(file(7, &[A, B]), at(0), Timestamp(0));
    for (version, lines, expected) in
        [(6, &[A][..], 2), (6, &[][..], 2), (0, &[][..], 2), (3, &[A, B][..], 2), (4, &[A][..], 1)]
    {
        news.take(file(version, lines), at(10), Timestamp(10));
        assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5)).len(), expected, "version {version}");
    }
}

#[test]
fn while_a_line_cannot_be_read_no_instance_is_gone() {
    let mut news = RecordsNews::default();
    news.take(file(1, &[A, B]), at(0), Timestamp(0));
    news.take(Records { unreadable_rows: 1, ..file(2, &[A]) }, at(10), Timestamp(10));
    assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5)).len(), 2);
    news.take(file(3, &[A]), at(11), Timestamp(11));
    assert_eq!(shown(&mut news, &told(&[A, B]), &asked(5)).len(), 1);
}

/// A director with four places for instances, and what becomes of each: the agent of its VM, or none.
#[derive(Clone, Default)]
struct World {
    states: Vec<[Option<usize>; 4]>,
}

#[derive(Clone, Debug)]
enum Step {
    /// A place gets another VM, or loses the one it has.
    Change { place: usize, ends: bool },
    /// The pilot's VM gets the file of a state that is no older than the last one it got.
    Publish { behind: usize },
    /// The pilot asks.
    Ask,
    /// It gets the answer: the state at the time of asking, or a later one.
    Answer { later: usize },
    /// An older file is there for a moment, or one that is no file.
    Glitch { back: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_usize, any::<bool>()).prop_map(|(place, ends)| Step::Change { place, ends }),
        4 => (0..3_usize).prop_map(|behind| Step::Publish { behind }),
        2 => Just(Step::Ask),
        3 => (0..3_usize).prop_map(|later| Step::Answer { later }),
        1 => (1..5_usize).prop_map(|back| Step::Glitch { back }),
    ];
    prop::collection::vec(step, 0..60)
}

const PLACES: [&str; 4] = ["p0", "p1", "p2", "p3"];

impl World {
    fn lines(&self, state: usize) -> Vec<(String, String, String)> {
        let line = |(place, vm): (usize, Option<usize>)| {
            let vm = vm?;
            Some((PLACES[place].to_owned(), format!("vm{vm}"), format!("10.0.{}.{}", vm / 250, vm % 250 + 1)))
        };
        self.states[state].into_iter().enumerate().filter_map(line).collect()
    }

    fn file(&self, state: usize) -> Records {
        let row = |(id, agent, ip): (String, String, String)| Record {
            id,
            agent_id: Some(agent),
            address: Address::parse(&ip).unwrap(),
            ..record(A)
        };
        Records {
            version: state as u64 + 1,
            rows: self.lines(state).into_iter().map(row).collect(),
            ..Records::default()
        }
    }

    fn answer(&self, state: usize) -> Arc<Inventory> {
        let mut inventory = Inventory::clone(&told(&[]));
        let one = |(id, agent, ip): (String, String, String)| Instance {
            id,
            agent_id: Some(agent),
            ips: Address::parse(&ip).into_iter().collect(),
            ..instance(A)
        };
        inventory.deployments[0].instances = self.lines(state).into_iter().map(one).collect();
        Arc::new(inventory)
    }

    /// The first state from `from` on in which the place is as shown.
    fn first(&self, place: usize, vm: Option<&str>, from: usize) -> Option<usize> {
        (from..self.states.len()).find(|state| self.states[*state][place].map(|vm| format!("vm{vm}")).as_deref() == vm)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever the order of files and answers: no place is shown in a state and then in an earlier one, every address
    /// is that of one instance, and in the end the director's word stands.
    #[test]
    fn no_order_of_files_and_answers_shows_an_instance_in_an_earlier_state(steps in steps()) {
        let mut world = World { states: vec![[Some(0), Some(1), None, None]] };
        let (mut news, mut vms, mut now) = (RecordsNews::default(), 2, 0);
        let (mut published, mut question, mut answered) = (0, None, 0);
        let mut facts = (world.answer(0), asked(-1));
        news.take(world.file(0), at(0), Timestamp(0));
        let mut seen = [0; 4];
        for step in steps {
            now += 1;
            let newest = world.states.len() - 1;
            match step {
                Step::Change { place, ends } => {
                    let mut next = world.states[newest];
                    next[place] = if ends { None } else { Some(vms) };
                    vms += 1;
                    world.states.push(next);
                }
                Step::Publish { behind } => {
                    published = newest.saturating_sub(behind).max(published);
                    news.take(world.file(published), at(now), Timestamp(0));
                }
                Step::Ask => question = question.or(Some((now, newest))),
                Step::Answer { later } => {
                    if let Some((at, state)) = question.take() {
                        answered = (state + later).min(newest).max(answered);
                        facts = (world.answer(answered), asked(at));
                    }
                }
                Step::Glitch { back } => {
                    let old = world.file(published.saturating_sub(back));
                    news.take(old, at(now), Timestamp(0));
                    news.take(Records { unreadable_rows: 3, ..Records::default() }, at(now), Timestamp(0));
                    news.take(world.file(published), at(now), Timestamp(0));
                }
            }
            let applied = news.applied(Arc::clone(&facts.0), &facts.1);
            let instances = &applied.deployments[0].instances;
            for (place, id) in PLACES.iter().enumerate() {
                let vm = instances.iter().find(|one| one.id == *id).and_then(|one| one.agent_id.as_deref());
                let state = world.first(place, vm, seen[place]);
                prop_assert!(state.is_some(), "{id} went back to {vm:?}");
                seen[place] = state.unwrap_or_default();
            }
            let mut ips: Vec<_> = instances.iter().flat_map(|one| &one.ips).collect();
            ips.sort();
            ips.dedup();
            prop_assert_eq!(ips.len(), instances.len());
        }
        let last = world.states.len() - 1;
        news.take(world.file(last), at(now + 1), Timestamp(0));
        let facts = world.answer(last);
        prop_assert_eq!(news.applied(Arc::clone(&facts), &asked(now + 2)), facts);
        prop_assert_eq!(news.open(), 0);
    }
}

#[test]
fn a_file_that_loses_everything_for_a_moment_changes_nothing() {
    const MOVED: Line = ("a", "a2", "10.0.0.9");
    let mut news = changed(&[A], &[A, B]);
    let facts = told(&[A]);
    news.applied(Arc::clone(&facts), &asked(5));
    for (version, lines, time) in [(3, &[MOVED, B][..], 11), (5, &[MOVED], 12)] {
        news.take(file(version, lines), at(time), Timestamp(time.unsigned_abs()));
        news.applied(Arc::clone(&facts), &asked(5));
    }
    let before = news.applied(Arc::clone(&facts), &asked(5));
    for (version, lines, time) in [(9, &[][..], 13), (10, &[MOVED], 14)] {
        news.take(file(version, lines), at(time), Timestamp(time.unsigned_abs()));
        assert_eq!(news.applied(Arc::clone(&facts), &asked(5)), before, "version {version}");
    }
}
