use proptest::prelude::*;

use super::*;

/// `ID DEPLOYMENT GROUP NETWORK IP`.
type Line = [&'static str; 5];

const WEB0: Line = ["w0", "shop", "web", "a", "10.0.0.1"];
const WEB1: Line = ["w1", "shop", "web", "a", "10.0.0.2"];
const DB: Line = ["d0", "blog", "db", "a", "10.0.0.7"];

fn view(version: u64, lines: &[Line]) -> View {
    let row = |[id, deployment, group, network, ip]: &Line| {
        format!(r#"["{id}","{deployment}","{group}","{network}","{ip}","z1"]"#)
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    let keys = r#"["id","deployment","instance_group","network","ip","az"]"#;
    let text = format!(r#"{{"version":{version},"record_keys":{keys},"record_infos":[{}]}}"#, rows.join(","));
    View::read(text.as_bytes()).unwrap()
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1000)
}

fn ips(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A follower that had a pilot and this file for long, until second 100.
fn settled(lines: &[Line]) -> Follower {
    let mut follower = Follower::default();
    follower.hear(true, at(0));
    follower.take(view(1, lines), at(0));
    follower.settle(at(100));
    assert!(follower.is_idle());
    follower
}

/// The same, when the pilot goes and the file changes.
fn left_alone(before: &[Line], after: &[Line]) -> Follower {
    let mut follower = settled(before);
    follower.hear(false, at(101));
    follower.take(view(2, after), at(102));
    follower.settle(at(200));
    follower
}

/// The endpoints of the group `web` at second 200, when the pilot named these.
fn used(follower: &Follower, endpoints: &[&str]) -> Vec<String> {
    let mut used = ips(endpoints);
    if let Some(change) = follower.change(("shop", "web"), &used, at(200)) {
        used.retain(|ip| !change.without.contains(ip));
        used.extend(change.with.iter().map(|place| place.ip));
    }
    used.iter().map(ToString::to_string).collect()
}

const BOTH: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

#[test]
fn without_a_pilot_moved_new_and_gone_instances_are_followed() {
    let moved = ["w0", "shop", "web", "a", "10.0.0.9"];
    assert_eq!(used(&left_alone(&[WEB0, WEB1], &[moved, WEB1]), &BOTH), ["10.0.0.2", "10.0.0.9"]);
    assert_eq!(used(&left_alone(&[WEB0, WEB1], &[WEB1]), &BOTH), ["10.0.0.2"]);
    assert_eq!(used(&left_alone(&[WEB0], &[WEB0, WEB1]), &BOTH[..1]), BOTH);
    let swapped = [["w0", "shop", "web", "a", "10.0.0.7"], ["d0", "blog", "db", "a", "10.0.0.1"]];
    assert_eq!(used(&left_alone(&[WEB0, DB], &swapped), &BOTH[..1]), ["10.0.0.7"]);
}

#[test]
fn what_the_pilot_left_out_stays_out_and_what_the_file_never_listed_stays() {
    let moved = ["w0", "shop", "web", "a", "10.0.0.9"];
    assert_eq!(used(&left_alone(&[WEB0, WEB1], &[moved, WEB1]), &BOTH[..1]), ["10.0.0.9"], "the second was stopped");
    assert_eq!(used(&left_alone(&[WEB0], &[moved]), &["10.0.0.1", "3.120.7.9"]), ["3.120.7.9", "10.0.0.9"]);
    assert_eq!(used(&left_alone(&[DB], &[]), &BOTH), BOTH, "the file does not have the group");
}

#[test]
fn only_the_network_of_the_endpoints_counts() {
    let other = ["w1", "shop", "web", "b", "10.1.0.2"];
    assert_eq!(used(&left_alone(&[WEB0], &[WEB0, WEB1, other]), &BOTH[..1]), BOTH);
}

#[test]
fn the_last_address_stays_unless_it_is_anothers() {
    assert_eq!(used(&left_alone(&[WEB0, WEB1], &[DB]), &BOTH), BOTH, "the file may be empty");
    let reused = ["d0", "blog", "db", "a", "10.0.0.1"];
    assert_eq!(used(&left_alone(&[WEB0, WEB1], &[reused]), &BOTH), ["10.0.0.2"]);
    assert!(used(&left_alone(&[WEB0], &[reused]), &BOTH[..1]).is_empty());
}

#[test]
fn an_address_that_becomes_anothers_is_not_used_with_a_pilot_either_until_it_had_time_to_say_more() {
    let reused = ["d0", "blog", "db", "a", "10.0.0.1"];
    let mut follower = settled(&[WEB0, WEB1]);
    follower.take(view(2, &[reused, WEB1]), at(195));
    assert_eq!(used(&follower, &BOTH), ["10.0.0.2"]);
    follower.settle(at(206));
    assert_eq!(used(&follower, &BOTH), BOTH, "the pilot says so, and has the same file");
    let mut follower = settled(&[WEB0, WEB1]);
    follower.take(view(2, &[WEB1]), at(195));
    assert_eq!(used(&follower, &BOTH), BOTH, "the pilot says who is gone");
}

#[test]
fn an_address_of_a_service_that_was_there_for_a_moment_only_is_not_used_when_it_becomes_anothers() {
    let reused = ["d0", "blog", "db", "a", "10.0.0.1"];
    let mut follower = settled(&[]);
    follower.take(view(2, &[WEB0, WEB1]), at(193));
    assert_eq!(used(&follower, &BOTH), BOTH);
    follower.take(view(3, &[WEB1]), at(195));
    follower.take(view(4, &[reused, WEB1]), at(196));
    assert_eq!(used(&follower, &BOTH), ["10.0.0.2"]);
    follower.take(view(5, &[["w0", "shop", "frontend", "a", "10.0.0.1"], WEB1]), at(197));
    assert_eq!(used(&follower, &BOTH), BOTH, "its instance is back, with another name of its group");
}

#[test]
fn however_often_the_file_changes_without_a_pilot_few_of_its_states_are_kept() {
    let mut follower = left_alone(&[WEB0, WEB1], &[WEB1]);
    for version in 3..500 {
        follower.take(view(version, &[WEB1]), at(150));
    }
    assert_eq!(follower.later.len(), MAX_LATER);
    assert_eq!(used(&follower, &BOTH), ["10.0.0.2"]);
}

#[test]
fn an_agent_that_only_changes_to_another_pilot_follows_nothing() {
    let mut follower = settled(&[WEB0, WEB1]);
    follower.hear(false, at(197));
    follower.take(view(2, &[WEB1]), at(198));
    assert_eq!(used(&follower, &BOTH), BOTH);
}

#[test]
fn a_renamed_group_keeps_its_addresses() {
    let renamed = ["w0", "shop", "frontend", "a", "10.0.0.1"];
    assert_eq!(used(&left_alone(&[WEB0], &[renamed]), &BOTH[..1]), BOTH[..1]);
}

#[test]
fn after_a_start_without_a_pilot_no_address_leads_to_another_group() {
    let mut follower = Follower::default();
    assert_eq!(used(&follower, &BOTH), BOTH, "there is no file");
    follower.hear(false, at(0));
    let reused = ["d0", "blog", "db", "a", "10.0.0.1"];
    follower.take(view(7, &[reused, WEB1]), at(1));
    assert_eq!(used(&follower, &BOTH), ["10.0.0.2"]);
    let mut follower = Follower::default();
    follower.hear(false, at(0));
    follower.take(view(7, &[["w0", "shop", "web", "a", "10.0.0.9"]]), at(1));
    assert_eq!(used(&follower, &BOTH[..1]), ["10.0.0.1", "10.0.0.9"], "nobody says that the first is gone");
    follower.take(view(8, &[["w0", "shop", "web", "a", "10.0.0.9"], WEB1]), at(2));
    assert_eq!(used(&follower, &["10.0.0.9"]), ["10.0.0.2", "10.0.0.9"], "it is new since the start");
    follower.hear(true, at(150));
    follower.settle(at(160));
    assert_eq!(used(&follower, &BOTH[..1]), BOTH[..1], "a pilot has spoken");
}

#[test]
fn an_older_version_is_no_news_without_a_pilot_and_a_beginning_with_one() {
    let mut follower = left_alone(&[WEB0, WEB1], &[WEB1]);
    follower.take(view(1, &[WEB0, WEB1]), at(150));
    follower.take(view(0, &[]), at(150));
    assert_eq!(used(&follower, &BOTH), ["10.0.0.2"]);
    let mut follower = settled(&[WEB0, WEB1]);
    follower.take(view(1, &[WEB1]), at(150));
    assert!(follower.is_idle());
}

#[test]
fn a_row_that_cannot_be_read_costs_nobody_an_endpoint() {
    let text = br#"{"version":2,"record_keys":["id","deployment","instance_group","network","ip"],
        "record_infos":[["w1","shop","web","a","10.0.0.2"],["w0","shop","web","a",null]]}"#;
    let mut follower = settled(&[WEB0, WEB1]);
    follower.hear(false, at(101));
    follower.take(View::read(text).unwrap(), at(102));
    assert_eq!(used(&follower, &BOTH), BOTH);
}

/// Of thousands of services, few need a look.
#[test]
fn a_group_that_no_state_of_the_file_has_changed_needs_no_look() {
    let follower = left_alone(&[WEB0, WEB1, DB], &[WEB0, DB]);
    assert!(follower.may_change("web.shop") && !follower.may_change("db.blog") && !follower.may_change("x.y"));
    assert!(!settled(&[WEB0]).may_change("web.shop"));
    let mut follower = left_alone(&[WEB0, WEB1, DB], &[WEB0, DB]);
    for version in 3..100 {
        follower.take(view(version, &[WEB0, DB]), at(201));
    }
    assert!(follower.may_change("web.shop"), "also of a state that was forgotten");
    assert!(Follower::default().change(("shop", "web"), &ips(&BOTH), at(0)).is_none());
}

const GROUPS: [(&str, &str); 3] = [("shop", "web"), ("shop", "db"), ("blog", "web")];

/// Who has the addresses 10.0.0.0 to 10.0.0.5: an instance, by its group and number.
fn layout() -> impl Strategy<Value = Vec<Option<(usize, u8)>>> {
    prop::collection::vec(prop::option::of((0..3_usize, 0..3_u8)), 6)
}

fn laid_out(version: u64, layout: &[Option<(usize, u8)>]) -> View {
    let row = |(address, owner): (usize, &Option<(usize, u8)>)| {
        let (group, number) = (*owner)?;
        let (deployment, name) = GROUPS[group];
        Some(format!(r#"["{deployment}-{name}-{number}","{deployment}","{name}","a","10.0.0.{address}"]"#))
    };
    let rows: Vec<_> = layout.iter().enumerate().filter_map(row).collect();
    let keys = r#"["id","deployment","instance_group","network","ip"]"#;
    let text = format!(r#"{{"version":{version},"record_keys":{keys},"record_infos":[{}]}}"#, rows.join(","));
    View::read(text.as_bytes()).unwrap()
}

proptest! {
    /// Whatever happens while no pilot is there: an endpoint that the file lists is one of the service's own group, and
    /// what the pilot said once its own file said the same is what is used as soon as it is back.
    #[test]
    fn without_a_pilot_no_service_leads_to_another_one(layouts in prop::collection::vec(layout(), 2..6), starts in any::<bool>()) {
        let of = |layout: &[Option<(usize, u8)>], group: usize| -> BTreeSet<IpAddr> {
            let is_of = |(address, owner): (usize, &Option<(usize, u8)>)| {
                owner.is_some_and(|(of, _)| of == group).then(|| format!("10.0.0.{address}").parse().unwrap())
            };
            layout.iter().enumerate().filter_map(is_of).collect()
        };
        let mut follower = Follower::default();
        if !starts {
            follower.hear(true, at(0));
            follower.take(laid_out(1, &layouts[0]), at(0));
            follower.settle(at(50));
        }
        follower.hear(false, at(60));
        for (number, layout) in layouts.iter().enumerate().skip(1) {
            follower.take(laid_out(number as u64 + 1, layout), at(70));
            for (index, (deployment, name)) in GROUPS.into_iter().enumerate() {
                let told = of(&layouts[0], index);
                let change = follower.change((deployment, name), &told, at(100));
                let group = format!("{name}.{deployment}");
                prop_assert!(change.is_none() || follower.may_change(&group));
                let change = change.unwrap_or_default();
                let used = told.iter().filter(|ip| !change.without.contains(ip)).copied();
                let used: BTreeSet<_> = used.chain(change.with.iter().map(|place| place.ip)).collect();
                let others = (0..3).filter(|other| *other != index).flat_map(|other| of(layout, other));
                let others: BTreeSet<_> = others.collect();
                prop_assert!(used.is_disjoint(&others), "{used:?} {others:?}");
                if !starts && !of(layout, index).is_empty() && !told.is_empty() {
                    prop_assert_eq!(&used, &of(layout, index));
                }
            }
        }
        follower.hear(true, at(200));
        follower.settle(at(300));
        prop_assert!(follower.is_idle());
    }
}
