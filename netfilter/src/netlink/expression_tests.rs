use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;

fn any_match() -> impl Strategy<Value = Match> {
    let net = || {
        (any::<u32>(), 0u8..=32).prop_map(|(address, bits)| Ipv4Net::new_assert(Ipv4Addr::from(address), bits).trunc())
    };
    prop_oneof![
        net().prop_map(Match::Destination),
        net().prop_map(|net| Match::Source(net.into())),
        (any::<u128>(), 0u8..=128).prop_map(|(address, bits)| {
            Match::Source(Ipv6Net::new_assert(Ipv6Addr::from(address), bits).trunc().into())
        }),
        "[a-z]{1,12}".prop_map(|set| Match::PortIn(set.into())),
        Just(Match::Loopback),
        Just(Match::Opens),
        any::<u16>().prop_map(Match::Port),
        any::<u32>().prop_map(Match::Mark),
        any::<u32>().prop_map(Match::ConnectionMark),
        "[a-z]{1,14}[*0-9]".prop_map(|interface| Match::Arrives(interface.into())),
        Just(Match::Tcp),
        Just(Match::Udp),
        "[a-z]{1,12}".prop_map(|set| Match::DestinationIn(set.into())),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let verdict = prop_oneof![
        "[a-z]{1,12}".prop_map(|chain| Verdict::Jump(chain.into())),
        Just(Verdict::Reset),
        Just(Verdict::Accept),
        any::<u16>().prop_map(Verdict::Redirect),
        any::<u16>().prop_map(Verdict::ToPort),
        any::<u32>().prop_map(Verdict::MarkConnection),
        any::<u32>().prop_map(Verdict::Mark),
    ];
    (prop::collection::vec(any_match(), 0..4), verdict).prop_map(|(matches, verdict)| Rule { matches, verdict })
}

fn through_bytes(expressions: &[Expression]) -> Vec<Expression> {
    let mut writer = Writer::default();
    expressions.iter().for_each(|each| each.write(&mut writer));
    Attributes(writer.bytes()).map(|(_, element)| Expression::read(Attributes(element))).collect()
}

proptest! {
    #[test]
    fn every_rule_is_recognised_after_its_way_through_bytes(rule in any_rule()) {
        let read = through_bytes(&lower(&rule));
        prop_assert_eq!(lift(&read), ObservedRule::Known(rule));
    }

    /// Drift detection depends on this: expressions that differ from a rule's must not be taken for the rule.
    #[test]
    fn no_other_expressions_are_taken_for_a_rule(
        rule in any_rule(), at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), edit in 0..3,
        byte in any::<u8>(),
    ) {
        let written = lower(&rule);
        let mut changed = written.clone();
        let at = at.index(changed.len());
        match (edit, &mut changed[at]) {
            (0, _) => drop(changed.remove(at)),
            (1, _) => changed.swap(at, to.index(written.len())),
            (_, Expression::Mask(value) | Expression::Equal(value) | Expression::Load(value)) => {
                let place = to.index(value.len());
                value[place] = byte;
            }
            (_, Expression::Meta(key) | Expression::SetMeta(key) | Expression::Ct(key) | Expression::SetCt(key)) => {
                *key ^= u32::from(byte);
            }
            (_, Expression::Payload { offset: key, .. }) => *key ^= u32::from(byte),
            (_, Expression::Reject(kind)) => *kind ^= u32::from(byte),
            (_, Expression::Lookup(set)) => set.push(char::from(byte | 0x20)),
            (_, Expression::Verdict(code, _)) => *code ^= i32::from(byte),
            (_, Expression::Redirect | Expression::DestinationPort | Expression::Other(_)) => {}
        }
        prop_assert_eq!(lift(&through_bytes(&changed)) == ObservedRule::Known(rule), changed == written);
    }
}

#[test]
fn a_whole_byte_prefix_is_a_shorter_load_as_nft_writes_it() {
    let rule = |net: &str| Rule { matches: vec![Match::Destination(net.parse().unwrap())], verdict: Verdict::Reset };
    let load = |length| Expression::Payload { base: 1, offset: 16, length, register: 1 };
    let whole = lower(&rule("169.254.255.0/24"));
    assert_eq!(whole[2..4], [load(3), Expression::Equal(vec![169, 254, 255])]);
    let odd = lower(&rule("169.254.240.0/20"));
    assert_eq!(
        odd[2..5],
        [load(4), Expression::Mask(vec![255, 255, 240, 0]), Expression::Equal(vec![169, 254, 240, 0])]
    );
}

#[test]
fn an_added_expression_makes_a_rule_foreign() {
    let rule = Rule { matches: vec![Match::Tcp], verdict: Verdict::Reset };
    let mut expressions = lower(&rule);
    expressions.insert(0, Expression::Other("counter".to_owned()));
    assert!(matches!(lift(&through_bytes(&expressions)), ObservedRule::Foreign(text) if text.contains("counter")));
}

#[test]
fn an_address_that_is_not_known_to_be_ipv4_is_foreign() {
    let rule = Rule { matches: vec![Match::Destination("10.0.0.0/8".parse().unwrap())], verdict: Verdict::Reset };
    assert!(matches!(lift(&lower(&rule)[2..]), ObservedRule::Foreign(_)));
}
