use std::sync::Arc;

use boshy_netlink::messages;

use super::*;
use crate::{
    difference::{Observed, ObservedSet, difference},
    redirect::Redirect,
    ruleset::{Match, Verdict},
    set::{Pairs, Ports},
};

fn redirect(ports: std::ops::Range<u16>) -> Ruleset {
    Redirect::new("169.254.240.0/20".parse().unwrap(), 15001).unwrap().ruleset(&pairs(ports))
}

fn pairs(ports: std::ops::Range<u16>) -> Arc<Pairs> {
    Arc::new(ports.map(|port| SocketAddrV4::new(Ipv4Addr::new(169, 254, 240, 1), port)).collect())
}

/// The redirect with a third chain, which has another hook and a set of its own.
fn with_inbound(ports: std::ops::Range<u16>, inbound: std::ops::Range<u16>) -> Ruleset {
    let mut ruleset = redirect(ports);
    let base = Base { kind: "nat".into(), hook: Hook::PREROUTING, priority: -105, policy: Policy::ACCEPT };
    let rule = Rule::new([Match::DestinationIn("inbound".into())], Verdict::Redirect(15008));
    ruleset.chains.push(Chain { name: "inbound", base: Some(base), rules: vec![rule] });
    ruleset.sets.insert("inbound", Set::Pairs(pairs(inbound)));
    ruleset
}

/// Content of a batch, as it would be read back.
fn read(batch: &Batch) -> Observed {
    let mut observed = Observed::default();
    for said in messages(batch.bytes()).filter_map(|message| answer(&message)) {
        match said {
            Answer::Chain(chain) => observed.chains.push(chain),
            Answer::Rule(chain, rule) => observed.push_rule(&chain, rule),
            Answer::Table { dormant, owner } => assert_eq!((dormant, owner), (false, None)),
            Answer::Set(name, kind) => {
                observed.sets.insert(name, ObservedSet::Known(Set::of(kind.unwrap(), [])));
            }
            Answer::Elements(name, more) => match observed.sets.get_mut(&name) {
                Some(ObservedSet::Known(set)) => *set = Set::of(set.kind(), set.elements().into_iter().chain(more)),
                other => panic!("elements of {name}, which is {other:?}"),
            },
            Answer::Generation(_) => panic!("a batch holds no generation"),
        }
    }
    observed
}

fn kinds(batch: &Batch) -> Vec<u16> {
    messages(batch.bytes()).map(|message| message.kind & 0xff).collect()
}

#[test]
fn a_batch_is_one_transaction_that_acknowledges_its_last_step_only() {
    let batch = Batch::replace(&redirect(1..3), 0, 100);
    let around = [BATCH_BEGIN, NEW_TABLE, DELETE_TABLE, NEW_TABLE, NEW_SET, NEW_ELEMENTS, NEW_CHAIN, NEW_CHAIN];
    assert_eq!(kinds(&batch), [&around[..], &[NEW_RULE; 4], &[BATCH_END]].concat());
    let all: Vec<_> = messages(batch.bytes()).collect();
    assert!(all.iter().map(|message| message.sequence).eq(100..113));
    let acknowledged: Vec<u32> = all.iter().filter(|each| each.flags & ACK != 0).map(|each| each.sequence).collect();
    assert_eq!(acknowledged, [batch.last()]);
    assert_eq!(batch.step_of(batch.last()), "rule `meta l4proto udp redirect to :0` of chain capture");
    assert_eq!(batch.step_of(100), "the transaction");
}

#[test]
fn what_a_batch_writes_reads_as_the_desired_table() {
    let redirects = [redirect(1..1), redirect(1..2), redirect(1..u16::MAX)];
    let mut with_ports = redirect(1..2);
    with_ports.sets.insert("ports", Set::Ports(Arc::new(Ports::from([1, 9000, u16::MAX]))));
    for ruleset in redirects.into_iter().chain([with_inbound(1..3, 5..9), with_ports, Ruleset::default()]) {
        let batch = Batch::replace(&ruleset, OWNED_AND_PERSISTENT, 1);
        assert_eq!(difference(&ruleset, Some(&read(&batch))), []);
    }
}

#[test]
fn a_change_of_pairs_is_as_long_as_what_changes() {
    let (from, to) = (redirect(1..2).sets, redirect(2..4).sets);
    let batch = Batch::change(&from, &to, 7, 1).unwrap();
    assert_eq!(kinds(&batch), [BATCH_BEGIN, DELETE_ELEMENTS, NEW_ELEMENTS, BATCH_END]);
    assert!(batch.bytes().len() < 300, "{} bytes", batch.bytes().len());
    assert_eq!(batch.step_of(3), "adding 169.254.240.1:2 and others in the set pairs");
    assert!(Batch::change(&to, &redirect(2..4).sets, 7, 1).is_none());
}

#[test]
fn a_change_concerns_only_the_sets_that_change() {
    let (from, to) = (with_inbound(1..5000, 5..6).sets, with_inbound(1..5000, 5..7).sets);
    let batch = Batch::change(&from, &to, 7, 1).unwrap();
    assert_eq!(kinds(&batch), [BATCH_BEGIN, NEW_ELEMENTS, BATCH_END]);
    assert_eq!(batch.step_of(2), "adding 169.254.240.1:6 and others in the set inbound");
}

#[test]
fn tables_of_others_are_not_read_as_ours() {
    let mut writer = Writer::default();
    for (family, name) in [(2, NAME), (INET, "bosh_agent")] {
        writer.message(SUBSYSTEM << 8 | NEW_TABLE, 0, 1, |writer| {
            writer.raw(&[family, 0, 0, 0]);
            writer.text(1, name);
        });
    }
    assert!(messages(writer.bytes()).all(|message| answer(&message).is_none()));
}
