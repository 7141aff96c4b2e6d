use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    redirect::Redirect,
    ruleset::{Hook, Match, Policy, Verdict},
};

fn desired() -> Ruleset {
    let pairs = ["169.254.255.2:22", "169.254.255.2:9002", "169.254.255.3:9002"].map(|pair| pair.parse().unwrap());
    Redirect::new("169.254.255.0/24".parse().unwrap(), 15001).unwrap().ruleset(&Arc::new(pairs.into()))
}

/// The redirect with a third chain, which has another hook and a set of its own.
fn with_inbound() -> Ruleset {
    let mut desired = desired();
    let base = Base { kind: "nat".into(), hook: Hook::PREROUTING, priority: -105, policy: Policy::ACCEPT };
    let rule = Rule::new([Match::DestinationIn("inbound".into())], Verdict::Redirect(15008));
    desired.chains.push(Chain { name: "inbound", base: Some(base), rules: vec![rule] });
    desired.sets.insert("inbound", Set::Pairs(Arc::new(["10.244.0.5:8080".parse().unwrap()].into())));
    desired
}

fn as_written(desired: &Ruleset) -> Observed {
    let chain = |chain: &Chain| ObservedChain {
        name: chain.name.to_owned(),
        base: chain.base.clone(),
        rules: chain.rules.iter().cloned().map(ObservedRule::Known).collect(),
    };
    let set = |(name, set): (&&str, &Set)| ((*name).to_owned(), ObservedSet::Known(set.clone()));
    let (chains, sets) = (desired.chains.iter().map(chain).collect(), desired.sets.iter().map(set).collect());
    Observed { dormant: false, chains, sets }
}

fn found(change: impl FnOnce(&mut Observed)) -> Vec<String> {
    found_of(&desired(), change)
}

fn found_of(desired: &Ruleset, change: impl FnOnce(&mut Observed)) -> Vec<String> {
    let mut observed = as_written(desired);
    change(&mut observed);
    difference(desired, Some(&observed)).iter().map(ToString::to_string).collect()
}

fn found_pairs(observed: &mut Observed) -> &mut Pairs {
    let Some(ObservedSet::Known(Set::Pairs(pairs))) = observed.sets.get_mut(Redirect::SET) else { panic!("no pairs") };
    Arc::make_mut(pairs)
}

#[test]
fn what_was_written_differs_in_nothing_whatever_the_order_of_chains() {
    assert!(found(|_| {}).is_empty());
    assert!(found(|observed| observed.chains.reverse()).is_empty());
}

#[test]
fn a_set_that_is_gone_or_of_another_kind_and_one_of_others_are_seen() {
    assert_eq!(found(|observed| observed.sets.clear()), ["the set pairs is missing"]);
    let foreign = |observed: &mut Observed| drop(observed.sets.insert("pairs".to_owned(), ObservedSet::Foreign));
    assert_eq!(found(foreign), ["the set pairs is missing"]);
    let ports = || ObservedSet::Known(Set::Ports(Arc::default()));
    let other_kind = |observed: &mut Observed| drop(observed.sets.insert("pairs".to_owned(), ports()));
    assert_eq!(found(other_kind), ["the set pairs is missing"]);
    let empty = || ObservedSet::Known(Set::Pairs(Arc::default()));
    assert_eq!(
        found(|observed| drop(observed.sets.insert("stranger".to_owned(), empty()))),
        ["set stranger is not ours"]
    );
}

#[test]
fn pairs_that_are_missing_and_pairs_of_others_are_counted_and_one_is_named() {
    let other = "169.254.255.4:1".parse().unwrap();
    let swapped = found(|observed| {
        let pairs = found_pairs(observed);
        pairs.remove(&"169.254.255.2:22".parse().unwrap());
        pairs.remove(&"169.254.255.3:9002".parse().unwrap());
        pairs.insert(other);
    });
    assert_eq!(
        swapped,
        [
            "the set pairs lacks 2 elements, 169.254.255.2:22 among them",
            "the set pairs has 1 elements that are not ours, 169.254.255.4:1 among them"
        ]
    );
}

#[test]
fn a_third_chain_and_its_set_are_compared_like_the_others() {
    let wanted = with_inbound();
    assert_eq!(found_of(&wanted, |_| {}), [""; 0]);
    assert_eq!(difference(&desired(), Some(&as_written(&wanted))).len(), 2, "a chain and a set too many");
    assert_eq!(
        difference(&wanted, Some(&as_written(&desired()))).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["chain inbound is missing", "the set inbound is missing"]
    );
    assert_eq!(
        found_of(&wanted, |observed| {
            observed.chains[2].base.as_mut().unwrap().hook = Hook::INPUT;
            observed.chains[2].rules.clear();
            observed.sets.insert("inbound".to_owned(), ObservedSet::Known(Set::Pairs(Arc::default())));
        }),
        [
            "chain inbound is `type nat hook input priority -105; policy accept;`, \
             not `type nat hook prerouting priority -105; policy accept;`",
            "chain inbound lacks `ip daddr . tcp dport @inbound redirect to :15008`",
            "the set inbound lacks 1 elements, 10.244.0.5:8080 among them"
        ]
    );
}

#[test]
fn an_absent_table_is_one_deviation() {
    assert_eq!(difference(&desired(), None), [Deviation::AllMissing]);
}

#[test]
fn each_deviation_names_its_place() {
    assert_eq!(found(|observed| observed.dormant = true), ["the table is switched off (dormant)"]);
    assert_eq!(found(|observed| drop(observed.chains.remove(1))), ["chain capture is missing"]);
    assert_eq!(
        found(|observed| drop(observed.chains[1].rules.remove(0))),
        ["chain capture lacks `ip daddr . tcp dport @pairs redirect to :15001`"]
    );
    assert_eq!(
        found(|observed| observed.chains[1].rules.swap(0, 1)),
        ["the rules of chain capture are in another order"]
    );
    assert_eq!(
        found(|observed| observed.chains[0].rules.insert(0, ObservedRule::Foreign("counter".to_owned()))),
        ["chain output has `counter`, which is not ours"]
    );
    let stranger = ObservedChain { name: "stranger".to_owned(), base: None, rules: vec![] };
    assert_eq!(found(|observed| observed.chains.push(stranger)), ["chain stranger is not ours"]);
}

#[test]
fn another_priority_policy_or_hook_is_seen() {
    let other = |base: &mut Base| base.priority = -95;
    assert_eq!(
        found(|observed| other(observed.chains[0].base.as_mut().unwrap())),
        ["chain output is `type nat hook output priority -95; policy accept;`, \
          not `type nat hook output priority -105; policy accept;`"]
    );
    assert_eq!(
        found(|observed| observed.chains[0].base = None),
        ["chain output is not hooked in, not `type nat hook output priority -105; policy accept;`"]
    );
}

#[test]
fn a_rule_with_another_port_is_one_missing_and_one_extra() {
    let other = Rule { matches: vec![Match::Tcp], verdict: Verdict::Redirect(1) };
    assert_eq!(
        found(|observed| *observed.chains[1].rules.last_mut().unwrap() = ObservedRule::Known(other)),
        [
            "chain capture lacks `meta l4proto udp redirect to :0`",
            "chain capture has `meta l4proto tcp redirect to :1`, which is not ours"
        ]
    );
}

#[test]
fn a_drift_is_told_in_one_line() {
    let mut observed = as_written(&desired());
    observed.dormant = true;
    observed.chains.pop();
    let drift = Drift { deviations: difference(&desired(), Some(&observed)) };
    assert_eq!(drift.to_string(), "the table is switched off (dormant); chain capture is missing");
}

#[test]
fn a_rule_that_is_there_twice_is_extra_once() {
    assert_eq!(
        found(|observed| observed.chains[1].rules.insert(0, ObservedRule::Known(desired().chains[1].rules[0].clone()))),
        ["chain capture has `ip daddr . tcp dport @pairs redirect to :15001`, which is not ours"]
    );
}

/// A change that another process may make to the rules of a chain.
#[derive(Clone, Debug)]
enum Edit {
    Swap(prop::sample::Index, prop::sample::Index),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Add(prop::sample::Index, ObservedRule),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    let other = Rule { matches: vec![Match::Udp], verdict: Verdict::Reset };
    let stranger = prop_oneof![Just(ObservedRule::Known(other)), Just(ObservedRule::Foreign("counter".to_owned()))];
    prop_oneof![
        (at(), at()).prop_map(|(one, other)| Edit::Swap(one, other)),
        at().prop_map(Edit::Remove),
        (at(), at()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        (at(), stranger).prop_map(|(to, rule)| Edit::Add(to, rule)),
    ]
}

fn change(rules: &mut Vec<ObservedRule>, edit: Edit) {
    let count = rules.len();
    let place = |at: prop::sample::Index| at.index(count);
    match edit {
        Edit::Add(to, rule) => rules.insert(to.index(count + 1), rule),
        _ if count == 0 => {}
        Edit::Swap(one, other) => rules.swap(place(one), place(other)),
        Edit::Remove(at) => drop(rules.remove(place(at))),
        Edit::Repeat(from, to) => rules.insert(to.index(count + 1), rules[place(from)].clone()),
    }
}

proptest! {
    /// Few edits in either chain, some of which undo each other.
    #[test]
    fn only_the_same_rules_in_the_same_order_are_no_difference(
        edits in prop::collection::vec((0usize..2, edit()), 0..4),
    ) {
        let wanted = desired();
        let mut observed = as_written(&wanted);
        for (chain, edit) in edits {
            change(&mut observed.chains[chain].rules, edit);
        }
        let same = observed == as_written(&wanted);
        prop_assert_eq!(difference(&wanted, Some(&observed)).is_empty(), same);
    }
}
