use boshy_mesh::{DocumentKind, DocumentName, PolicyOfPort, PolicySet, Position, RuleOfPort, Source, network};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

/// A policy of one rule with these sources, each of networks that it is in and is not in.
fn policy(name: &str, sources: &[(&[&str], &[&str])]) -> PolicyOfPort {
    let networks = |written: &[&str]| written.iter().map(|written| network(written).unwrap()).collect();
    let source = |(within, without): &(&[&str], &[&str])| Source {
        ip_blocks: networks(within),
        not_ip_blocks: networks(without),
        ..Source::default()
    };
    let position = Position { line: 7, column: 3 };
    let document =
        DocumentName { config: "net".into(), position, kind: DocumentKind::AuthorizationPolicy, name: name.into() };
    PolicyOfPort { document, rules: vec![RuleOfPort { position, from: sources.iter().map(source).collect() }] }
}

fn set(allow: Vec<PolicyOfPort>, deny: Vec<PolicyOfPort>) -> PolicySet {
    PolicySet { allow, deny }
}

fn shown(authorization: &Authorization) -> Vec<(Passage, String)> {
    let of = |(passage, networks): (_, BTreeSet<Ipv4Net>)| {
        (passage, networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    passages(authorization).into_iter().map(of).collect()
}

#[test]
fn each_network_that_a_policy_names_has_its_answer_and_all_others_have_one() {
    let allow = policy("balancers", &[(&["10.9.0.0/16"], &["10.9.7.0/24"])]);
    let deny = policy("broken", &[(&["10.9.1.1"], &[])]);
    let enforced = set(vec![allow.clone()], vec![deny.clone()]);
    let (none, broken) = (|| Denial("none".to_owned()), || Denial("net/broken:7:3".to_owned()));
    let expected = [
        (Passage::Allowed, "10.9.0.0/16".to_owned()),
        (Passage::Denied(broken()), "10.9.1.1/32".to_owned()),
        (Passage::Denied(none()), "0.0.0.0/0 10.9.7.0/24".to_owned()),
    ];
    assert_eq!(shown(&Authorization { enforced, trial: None }), expected);

    // On trial, the one that allows would deny all others.
    let (enforced, trial) = (set(vec![], vec![deny.clone()]), Some(set(vec![allow], vec![deny])));
    let expected = [
        (Passage::Allowed, "10.9.0.0/16".to_owned()),
        (Passage::Tried(none()), "0.0.0.0/0 10.9.7.0/24".to_owned()),
        (Passage::Denied(broken()), "10.9.1.1/32".to_owned()),
    ];
    assert_eq!(shown(&Authorization { enforced, trial }), expected);
}

#[test]
fn a_denial_is_told_in_the_words_for_tunnels_and_is_one_part_of_a_statistics_name() {
    let allow = policy("a.b %c", &[(&["10.9.0.0/16"], &[])]);
    let of = |allow, deny| Denial::of(&set(allow, deny), &Caller::from(network("10.9.1.1").unwrap()));
    assert_eq!(of(vec![allow.clone()], vec![]), None);
    let denial = of(vec![], vec![allow]).unwrap();
    assert_eq!(denial.details(), "rbac_access_denied_matched_policy[net/a.b %c:7:3]");
    assert_eq!(Passage::Denied(denial.clone()).suffix(), "_denied.net/a_b__c_7_3");
    assert_eq!(Passage::Tried(denial).suffix(), "_shadow_denied.net/a_b__c_7_3");
    let nobody = of(vec![policy("nobody", &[(&["10.8.0.0/16"], &[])])], vec![]).unwrap();
    assert_eq!(nobody.details(), "rbac_access_denied_matched_policy[none]");
    assert_eq!(Passage::Denied(nobody).suffix(), "_denied.none");
}

/// What Envoy does: the chain of the longest network that contains the caller.
fn envoy(passages: &BTreeMap<Passage, BTreeSet<Ipv4Net>>, caller: Ipv4Net) -> Passage {
    let all = passages.iter().flat_map(|(passage, networks)| networks.iter().map(move |network| (network, passage)));
    let containing = all.filter(|(network, _)| network.contains(&caller));
    containing.max_by_key(|(network, _)| network.prefix_len()).expect("a network contains everybody").1.clone()
}

/// Networks that a source is in, and is not in.
type WrittenSource = (Vec<&'static str>, Vec<&'static str>);

fn policies() -> impl Strategy<Value = Vec<PolicyOfPort>> {
    let networks = || {
        let written = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.1", "10.0.0.2", "fd00::/8"];
        vec(select(written.to_vec()), 0..3)
    };
    let sources = vec((networks(), networks()), 0..3);
    vec((select(vec!["one", "two"]), sources), 0..3).prop_map(|written| {
        let made = |(name, sources): (&str, Vec<WrittenSource>)| {
            policy(name, &sources.iter().map(|(within, without)| (&**within, &**without)).collect::<Vec<_>>())
        };
        written.into_iter().map(made).collect()
    })
}

proptest! {
    #[test]
    fn envoy_lets_those_pass_whom_the_policies_allow(
        allow in policies(),
        deny in policies(),
        trial in option::of((policies(), policies())),
        caller in select(vec!["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "192.0.2.1"]),
    ) {
        let trial = trial.map(|(allow, deny)| set(allow, deny));
        let authorization = Authorization { enforced: set(allow, deny), trial };
        let Ok(IpNet::V4(address)) = network(caller) else { panic!("{caller}") };
        let found = envoy(&passages(&authorization), address);
        let who = Caller::from(IpNet::V4(address));
        let expected = match (Denial::of(&authorization.enforced, &who), &authorization.trial) {
            (Some(denial), _) => Passage::Denied(denial),
            (None, Some(trial)) => Denial::of(trial, &who).map_or(Passage::Allowed, Passage::Tried),
            (None, None) => Passage::Allowed,
        };
        prop_assert_eq!(found, expected);
    }
}
