use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    super::{
        Operation, network,
        samples::{from, policy},
    },
    *,
};

fn caller(written: &str) -> Caller {
    SpiffeId::from_principal(written).unwrap().into()
}

fn web() -> Caller {
    caller("boshy/ns/shop/sa/web")
}

fn decision(policies: &[AuthorizationPolicy], caller: &Caller) -> Decision {
    Authorization::of(policies, 3306).unwrap().enforced.decide(caller)
}

#[test]
fn no_policy_makes_no_authorization() {
    assert_eq!(Authorization::of([], 3306), None);
}

#[test]
fn an_allow_policy_lets_only_those_through_whom_it_names_and_says_by_which_line() {
    let policies = [policy("shop/db", 1, Action::Allow, vec![from(9, &["boshy/ns/shop/sa/web"])])];
    let allowed = decision(&policies, &web());
    assert_eq!(
        allowed.to_string(),
        r#"allowed by the rule in line 9 of AuthorizationPolicy "shop/db" of config "net", line 1"#
    );
    let denied = decision(&policies, &caller("boshy/ns/shop/sa/worker"));
    assert_eq!(denied, Decision::NotAllowed(vec![policies[0].name.clone()]));
    assert_eq!(
        denied.to_string(),
        r#"denied: no rule allows it of AuthorizationPolicy "shop/db" of config "net", line 1"#
    );
}

#[test]
fn an_allow_policy_without_rules_denies_all_and_a_deny_policy_without_rules_nobody() {
    assert!(!decision(&[policy("shop", 1, Action::Allow, vec![])], &web()).is_allowed());
    assert_eq!(decision(&[policy("shop", 1, Action::Deny, vec![])], &web()), Decision::Unrestricted);
}

#[test]
fn a_rule_without_sources_is_about_everybody() {
    let everybody = Rule { position: Position { line: 2, column: 1 }, from: vec![], to: vec![] };
    assert!(decision(&[policy("shop", 1, Action::Allow, vec![everybody.clone()])], &web()).is_allowed());
    assert!(!decision(&[policy("shop", 1, Action::Deny, vec![everybody])], &web()).is_allowed());
}

#[test]
fn a_rule_about_other_ports_does_not_count_but_its_allow_policy_does() {
    let operation = |ports: &[u16], not_ports: &[u16]| Operation {
        ports: ports.iter().copied().collect(),
        not_ports: not_ports.iter().copied().collect(),
    };
    let allowed = |to: Operation| {
        let rule = Rule { to: vec![to], ..from(2, &["*"]) };
        decision(&[policy("shop", 1, Action::Allow, vec![rule])], &web()).is_allowed()
    };
    assert!(allowed(operation(&[3306], &[])));
    assert!(allowed(operation(&[], &[80])));
    assert!(!allowed(operation(&[80], &[])));
    assert!(!allowed(operation(&[], &[3306])));
    assert!(!allowed(operation(&[3306], &[3306])));
}

#[test]
fn all_fields_of_a_source_have_to_match() {
    let source = Source {
        principals: vec![Pattern::parse("boshy/*").unwrap()],
        not_principals: vec![Pattern::parse("*/sa/batch").unwrap()],
        namespaces: vec![Pattern::parse("shop*").unwrap()],
        not_namespaces: vec![Pattern::parse("shop-test").unwrap()],
        ..Source::default()
    };
    assert!(source.matches(&caller("boshy/ns/shop-2/sa/web")));
    assert!(!source.matches(&caller("other/ns/shop-2/sa/web")), "another trust domain");
    assert!(!source.matches(&caller("boshy/ns/shop-2/sa/batch")));
    assert!(!source.matches(&caller("boshy/ns/bank/sa/web")));
    assert!(!source.matches(&caller("boshy/ns/shop-test/sa/web")));
}

/// A rule for callers in these networks.
fn of_networks(line: u32, networks: &[&str]) -> Rule {
    let ip_blocks = networks.iter().map(|written| network(written).unwrap()).collect();
    Rule { from: vec![Source { ip_blocks, ..Source::default() }], ..from(line, &[]) }
}

#[test]
fn a_caller_in_plaintext_has_an_address_alone() {
    let at = |address: &str| Caller::from(network(address).unwrap());
    let policies = [policy("shop/db", 1, Action::Allow, vec![from(2, &["*"]), of_networks(3, &["10.9.0.0/16"])])];
    assert_eq!(decision(&policies, &at("10.9.0.1")).to_string().split(' ').nth(6), Some("3"));
    assert!(!decision(&policies, &at("10.8.0.1")).is_allowed());
    let with_certificate = Caller { address: network("10.8.0.1").ok(), ..web() };
    assert!(decision(&policies, &with_certificate).is_allowed());
    let both = Source { ip_blocks: vec![network("10.9.0.0/16").unwrap()], ..from(1, &["*"]).from.remove(0) };
    assert!(!both.matches(&at("10.9.0.1")) && !both.matches(&with_certificate));
    assert!(both.matches(&Caller { address: network("10.9.0.1").ok(), ..web() }));
}

#[test]
fn only_policies_that_name_addresses_to_the_port_bind_callers_in_plaintext() {
    let by_name = policy("shop/db", 1, Action::Allow, vec![from(2, &["boshy/ns/shop/sa/web"])]);
    let by_address = policy("shop/db", 5, Action::Deny, vec![of_networks(6, &["10.9.0.1"])]);
    let to = vec![Operation { ports: [80].into(), ..Operation::default() }];
    let elsewhere = policy("shop", 9, Action::Deny, vec![Rule { to, ..of_networks(10, &["10.9.0.2"]) }]);
    let trial = AuthorizationPolicy { dry_run: true, ..policy("shop", 13, Action::Allow, vec![from(14, &["*"])]) };
    let of = |policies: &[AuthorizationPolicy]| Authorization::of(policies, 3306).unwrap().by_address();
    assert_eq!(of(&[by_name.clone(), elsewhere.clone(), trial.clone()]), None);
    let bound = of(&[by_name, by_address.clone(), elsewhere, trial]);
    assert_eq!(bound, Authorization::of([&by_address], 3306));
    let tried = AuthorizationPolicy { dry_run: true, ..by_address };
    assert_eq!(of(std::slice::from_ref(&tried)), Authorization::of([&tried], 3306));
}

#[test]
fn two_services_at_one_port_are_both_heeded() {
    let of = |policies: &[AuthorizationPolicy]| Authorization::of(policies, 3306).unwrap();
    let only_web = policy("shop/db", 1, Action::Allow, vec![from(2, &["boshy/ns/shop/sa/web"])]);
    let not_web = policy("shop/db", 5, Action::Deny, vec![from(6, &["boshy/ns/shop/sa/web"])]);
    let trial = AuthorizationPolicy { dry_run: true, ..policy("shop", 9, Action::Deny, vec![from(10, &["*"])]) };
    let together = of(std::slice::from_ref(&only_web)).and(&of(&[only_web.clone(), not_web.clone(), trial.clone()]));
    assert_eq!(together, of(&[trial, not_web, only_web]));
}

/// Whether it denies, whether it is on trial, and its rules.
type WrittenPolicy = (bool, bool, Vec<(Vec<Source>, Vec<Operation>)>);

const NETWORKS: [&str; 4] = ["10.0.0.0/8", "10.0.0.1", "10.0.0.2", "fd00::/8"];

/// Policies of few names, so that they often speak about the same caller.
fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    let pattern = select(vec!["*", "boshy/ns/a/*", "*/sa/x", "boshy/ns/a/sa/x", "boshy/ns/b/sa/y", "other/*"]);
    let namespace = select(vec!["*", "a", "b", "a*", "*b"]);
    let patterns =
        |of: proptest::sample::Select<&'static str>| vec(of.prop_map(|written| Pattern::parse(written).unwrap()), 0..3);
    let networks = || vec(select(NETWORKS.to_vec()).prop_map(|written| network(written).unwrap()), 0..2);
    let names = (patterns(pattern.clone()), patterns(pattern), patterns(namespace.clone()), patterns(namespace));
    let source = (names, networks(), networks()).prop_map(|(names, ip_blocks, not_ip_blocks)| {
        let (principals, not_principals, namespaces, not_namespaces) = names;
        Source { principals, not_principals, namespaces, not_namespaces, ip_blocks, not_ip_blocks }
    });
    let ports = || vec(select(vec![80_u16, 3306]), 0..2).prop_map(|ports| ports.into_iter().collect());
    let operation = (ports(), ports()).prop_map(|(ports, not_ports)| Operation { ports, not_ports });
    let rule = (vec(source, 0..3), vec(operation, 0..3));
    let policy = (any::<bool>(), proptest::bool::weighted(0.3), vec(rule, 0..3));
    vec(policy, 1..5).prop_map(|written| {
        let made = |(line, (deny, dry_run, rules)): (usize, WrittenPolicy)| {
            let line = 100 * line as u32;
            let rule =
                |(index, (from, to))| Rule { position: Position { line: line + index as u32, column: 1 }, from, to };
            let rules = rules.into_iter().enumerate().map(rule).collect();
            let action = if deny { Action::Deny } else { Action::Allow };
            AuthorizationPolicy { dry_run, ..policy_of(line, action, rules) }
        };
        written.into_iter().enumerate().map(made).collect()
    })
}

fn policy_of(line: u32, action: Action, rules: Vec<Rule>) -> AuthorizationPolicy {
    policy("a/x", line, action, rules)
}

fn callers() -> impl Strategy<Value = Caller> {
    let parts = (select(vec!["boshy", "other"]), select(vec!["a", "b", "ab"]), select(vec!["x", "y"]));
    let certified =
        parts.prop_map(|(domain, deployment, group)| caller(&format!("{domain}/ns/{deployment}/sa/{group}")));
    let address = select(vec!["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.1"]);
    (proptest::option::of(certified), address)
        .prop_map(|(certified, address)| Caller { address: network(address).ok(), ..certified.unwrap_or_default() })
}

/// Istio's words: deny if a DENY policy matches; allow if there is no ALLOW policy; allow if one matches; else deny.
fn istio(policies: &[AuthorizationPolicy], caller: &Caller, port: u16) -> bool {
    let matches = |policy: &AuthorizationPolicy| {
        policy.rules.iter().any(|rule| {
            (rule.to.is_empty() || rule.to.iter().any(|to| to.matches(port)))
                && (rule.from.is_empty() || rule.from.iter().any(|from| from.matches(caller)))
        })
    };
    let of = |action: Action| policies.iter().filter(move |policy| policy.action == action && !policy.dry_run);
    !of(Action::Deny).any(matches) && (of(Action::Allow).next().is_none() || of(Action::Allow).any(matches))
}

proptest! {
    #[test]
    fn deny_wins_allow_restricts_and_the_order_of_documents_does_not_matter(
        (policies, shuffled) in policies().prop_flat_map(|policies| (Just(policies.clone()), Just(policies).prop_shuffle())),
        caller in callers(),
        port in select(vec![80_u16, 3306, 9]),
    ) {
        let authorization = Authorization::of(&policies, port).unwrap();
        prop_assert_eq!(authorization.enforced.decide(&caller).is_allowed(), istio(&policies, &caller, port));
        prop_assert_eq!(Authorization::of(&shuffled, port).unwrap(), authorization);
    }

    #[test]
    fn a_policy_on_trial_changes_no_decision_and_the_trial_says_what_it_would(
        policies in policies(),
        caller in callers(),
    ) {
        let enforced: Vec<_> = policies.iter().filter(|policy| !policy.dry_run).cloned().collect();
        let authorization = Authorization::of(&policies, 80).unwrap();
        let without = Authorization::of(&enforced, 80).unwrap_or_default();
        prop_assert_eq!(&authorization.enforced, &without.enforced);
        let in_force: Vec<_> = policies.iter().cloned().map(|policy| AuthorizationPolicy { dry_run: false, ..policy }).collect();
        if let Some(trial) = &authorization.trial {
            prop_assert_eq!(trial.decide(&caller), decision_at(&in_force, &caller, 80));
        }
    }
}

fn decision_at(policies: &[AuthorizationPolicy], caller: &Caller, port: u16) -> Decision {
    Authorization::of(policies, port).unwrap().enforced.decide(caller)
}
