use super::*;
use crate::{
    netlink::wire::messages,
    ruleset::{Layout, Ruleset},
};

fn table() -> Table {
    Ruleset::new("169.254.240.0/20".parse().unwrap(), 15001, [9999]).unwrap().table(&Layout::NFTABLES)
}

#[test]
fn a_batch_is_one_transaction_that_acknowledges_its_last_step_only() {
    let batch = Batch::replace(&table(), 0, 100);
    let all: Vec<_> = messages(batch.bytes()).collect();
    let kinds: Vec<u16> = all.iter().map(|message| message.kind & 0xff).collect();
    let rules = [NEW_RULE; 7];
    let around = [BATCH_BEGIN, NEW_TABLE, DELETE_TABLE, NEW_TABLE, NEW_CHAIN, NEW_CHAIN];
    assert_eq!(kinds, [&around[..], &rules[..], &[BATCH_END]].concat());
    assert!(all.iter().map(|message| message.sequence).eq(100..114));
    let acknowledged: Vec<u32> = all.iter().filter(|each| each.flags & ACK != 0).map(|each| each.sequence).collect();
    assert_eq!(acknowledged, [batch.last()]);
    assert_eq!(batch.step_of(batch.last()), "rule `meta l4proto tcp redirect to :15001` of chain capture");
    assert_eq!(batch.step_of(100), "the transaction");
}

#[test]
fn what_a_batch_writes_reads_as_the_desired_table() {
    let batch = Batch::replace(&table(), OWNED_AND_PERSISTENT, 1);
    let mut chains: Vec<ObservedChain> = Vec::new();
    for said in messages(batch.bytes()).filter_map(|message| answer(&message)) {
        match said {
            Answer::Chain(chain) => chains.push(chain),
            Answer::Rule(chain, rule) => {
                chains.iter_mut().find(|each| each.name == chain).unwrap().rules.push(rule);
            }
            Answer::Table { dormant, owner } => assert_eq!((dormant, owner), (false, None)),
            Answer::Generation(_) => panic!("a batch holds no generation"),
        }
    }
    let observed = crate::difference::Observed { dormant: false, chains };
    assert_eq!(crate::difference::difference(&table(), Some(&observed)), []);
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
