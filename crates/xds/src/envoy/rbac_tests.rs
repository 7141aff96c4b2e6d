use boshy_mesh::{
    Action as PolicyAction, AppliedConfig, AuthorizationPolicy, Caller, Decision, DocumentKind, DocumentName,
    Documents, Origin, Policies, PolicyConfig, Position, Rule as PolicyRule, Scope, SpiffeId, network,
};
use envoy_types::pb::envoy::{
    config::rbac::v3::Rbac as Rules,
    extensions::filters::http::rbac::v3::{Rbac as Filter, RbacPerRoute},
};
use proptest::{bool::weighted, collection::vec, prelude::*, sample::select};
use regex_lite::Regex;

use super::*;

/// What Envoy does with a caller, by its documentation of the filter, and the name of the policy that did it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied(Option<String>),
}

/// `envoy.filters.http.rbac`: both filters, with these configurations of virtual host and route.
fn envoy(deny: Option<Any>, allow: Any, caller: &Caller, chosen: fn(Filter) -> Option<Rules>) -> Verdict {
    let of_route = |any: Any| RbacPerRoute::decode(&*any.value).unwrap().rbac.unwrap();
    for rules in [deny, Some(allow)].into_iter().flatten().filter_map(|any| chosen(of_route(any))) {
        let mut names: Vec<_> = rules.policies.keys().cloned().collect();
        names.sort();
        let matched = names.into_iter().find(|name| is_matched(&rules.policies[name], caller));
        match (Action::try_from(rules.action).unwrap(), matched) {
            (Action::Allow, None) => return Verdict::Denied(None),
            (Action::Deny, Some(name)) => return Verdict::Denied(Some(name)),
            _ => {}
        }
    }
    Verdict::Allowed
}

fn is_matched(policy: &Policy, caller: &Caller) -> bool {
    assert_eq!(policy.permissions, [Permission { rule: Some(Rule::Any(true)) }]);
    policy.principals.iter().any(|principal| is(principal, caller))
}

fn is(principal: &Principal, caller: &Caller) -> bool {
    let uri = &*caller.identity.as_ref().unwrap().to_string();
    match principal.identifier.as_ref().unwrap() {
        Identifier::AndIds(set) => set.ids.iter().all(|one| is(one, caller)),
        Identifier::OrIds(set) => set.ids.iter().any(|one| is(one, caller)),
        Identifier::NotId(one) => !is(one, caller),
        Identifier::Authenticated(Authenticated { principal_name: None }) => true,
        Identifier::Authenticated(Authenticated { principal_name: Some(matcher) }) => {
            match matcher.match_pattern.as_ref().unwrap() {
                MatchPattern::Exact(text) => uri == text,
                MatchPattern::Prefix(text) => uri.starts_with(text),
                MatchPattern::SafeRegex(RegexMatcher { regex, .. }) => {
                    Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(uri)
                }
                other => panic!("{other:?} is not rendered"),
            }
        }
        Identifier::DirectRemoteIp(CidrRange { address_prefix, prefix_len }) => {
            let network = format!("{address_prefix}/{}", prefix_len.unwrap().value).parse::<IpNet>().unwrap();
            network.contains(&caller.address.unwrap())
        }
        other => panic!("{other:?} is not rendered"),
    }
}

const PORT: u16 = 3306;

fn authorization(policies: Vec<AuthorizationPolicy>) -> Option<Authorization> {
    let documents = Documents { authorizations: policies, ..Documents::default() };
    let applied = Some(AppliedConfig { version: "1".into(), documents });
    let config = PolicyConfig { name: "net".into(), latest: "1".into(), applied, problems: Vec::new() };
    let origin = Origin { deployment: "shop".into(), group: "db".into(), job: "mysql".into() };
    Policies::of(&[config]).authorization(&origin, PORT)
}

fn policy(line: u32, action: PolicyAction, dry_run: bool, sources: Vec<Vec<Source>>) -> AuthorizationPolicy {
    let position = |line| Position { line, column: 3 };
    let rule = |(index, from)| PolicyRule { position: position(line + 1 + index as u32), from, to: Vec::new() };
    let kind = DocumentKind::AuthorizationPolicy;
    AuthorizationPolicy {
        name: DocumentName { config: "net".into(), position: position(line), kind, name: format!("p{line}") },
        scope: Scope::default(),
        action,
        dry_run,
        rules: sources.into_iter().enumerate().map(rule).collect(),
    }
}

fn from(principal: &str) -> Vec<Source> {
    let principals = vec![Pattern::parse(principal).unwrap()];
    vec![Source { principals, ..Source::default() }]
}

fn caller(principal: &str) -> Caller {
    Caller { identity: SpiffeId::from_principal(principal).ok(), address: "10.0.0.1".parse().ok() }
}

fn enforced(filter: Filter) -> Option<Rules> {
    filter.rules
}

fn shadow(filter: Filter) -> Option<Rules> {
    filter.shadow_rules
}

fn verdict(authorization: Option<&Authorization>, caller: &Caller) -> Verdict {
    envoy(deny(authorization), allow(authorization), caller, enforced)
}

#[test]
fn without_a_policy_every_caller_of_the_mesh_is_allowed_and_without_a_route_nobody() {
    assert_eq!(deny(None), None);
    assert_eq!(verdict(None, &caller("other/ns/a/sa/b")), Verdict::Allowed);
    let [deny, allow] = filters().map(|filter| match filter.config_type {
        Some(http_filter::ConfigType::TypedConfig(any)) => Filter::decode(&*any.value).unwrap(),
        other => panic!("{other:?}"),
    });
    assert_eq!(deny.rules, None);
    assert_eq!(allow.rules, Some(Rules::default()));
}

#[test]
fn a_denying_rule_is_named_by_document_and_line() {
    let policies = vec![
        policy(1, PolicyAction::Allow, false, vec![from("boshy/ns/shop/sa/web")]),
        policy(10, PolicyAction::Deny, false, vec![from("boshy/ns/bank/*"), from("*/sa/batch")]),
    ];
    let authorization = authorization(policies);
    let verdict = |principal: &str| verdict(authorization.as_ref(), &caller(principal));
    assert_eq!(verdict("boshy/ns/shop/sa/web"), Verdict::Allowed);
    assert_eq!(verdict("boshy/ns/shop/sa/batch"), Verdict::Denied(Some("net/p10:12:3".into())));
    assert_eq!(verdict("boshy/ns/shop/sa/other"), Verdict::Denied(None));
}

#[test]
fn a_dot_in_a_name_stands_for_itself() {
    let mut source = from("*.web");
    source[0].namespaces = vec![Pattern::parse("a.b").unwrap()];
    let authorization = authorization(vec![policy(1, PolicyAction::Allow, false, vec![source])]);
    let verdict = |principal: &str| verdict(authorization.as_ref(), &caller(principal));
    assert_eq!(verdict("boshy/ns/a.b/sa/x.web"), Verdict::Allowed);
    assert_eq!(verdict("boshy/ns/a-b/sa/x.web"), Verdict::Denied(None));
    assert_eq!(verdict("boshy/ns/a.b/sa/x-web"), Verdict::Denied(None));
}

#[test]
fn equal_policies_have_equal_bytes() {
    let all = || (0..9).map(|line| policy(10 * line, PolicyAction::Deny, line % 2 == 0, vec![from("*"); 3])).collect();
    let bytes = |policies: Vec<_>| deny(authorization(policies).as_ref()).unwrap().value;
    assert_eq!(bytes(all()), bytes(all().into_iter().rev().collect()));
}

const NETWORKS: [&str; 6] = ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/30", "10.0.0.1", "10.0.0.2", "fd00::/8"];

fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    let principal = select(vec![
        "*",
        "boshy/ns/a/*",
        "*/sa/x",
        "boshy/ns/a.b/sa/x",
        "boshy/ns/a-b/sa/y",
        "other/*",
        "*b/sa/x",
        "*.x",
        "boshy/ns/a*",
    ]);
    let namespace = select(vec!["*", "a", "a.b", "a*", "*b", "*.b", "a.*"]);
    let patterns =
        |of: proptest::sample::Select<&'static str>| vec(of.prop_map(|written| Pattern::parse(written).unwrap()), 0..3);
    let networks = || vec(select(NETWORKS.to_vec()).prop_map(|written| network(written).unwrap()), 0..3);
    let names = (patterns(principal.clone()), patterns(principal), patterns(namespace.clone()), patterns(namespace));
    let source = (names, networks(), networks()).prop_map(|(names, ip_blocks, not_ip_blocks)| {
        let (principals, not_principals, namespaces, not_namespaces) = names;
        Source { principals, not_principals, namespaces, not_namespaces, ip_blocks, not_ip_blocks }
    });
    let written = vec((any::<bool>(), weighted(0.3), vec(vec(source, 0..3), 0..3)), 0..5);
    written.prop_map(|written| {
        let numbered = written.into_iter().enumerate();
        let action = |deny| if deny { PolicyAction::Deny } else { PolicyAction::Allow };
        numbered.map(|(index, (deny, dry, rules))| policy(10 * index as u32, action(deny), dry, rules)).collect()
    })
}

fn callers() -> impl Strategy<Value = Caller> {
    let parts = (select(vec!["boshy", "other"]), select(vec!["a", "a.b", "a-b", "b"]), select(vec!["x", "y", "z.x"]));
    let address = select(vec!["10.0.0.1", "10.0.0.2", "10.9.0.1", "192.0.2.1", "fd00::1"]);
    (parts, address).prop_map(|((domain, deployment, group), address)| Caller {
        address: network(address).ok(),
        ..caller(&format!("{domain}/ns/{deployment}/sa/{group}"))
    })
}

/// The verdict that stands for a decision. Envoy names the first matching policy by its own order, so only whether it
/// names one is compared.
fn is_of(verdict: &Verdict, decision: &Decision) -> bool {
    match decision {
        Decision::Unrestricted | Decision::Allowed(_) => *verdict == Verdict::Allowed,
        Decision::Denied(_) => matches!(verdict, Verdict::Denied(Some(_))),
        Decision::NotAllowed(_) => *verdict == Verdict::Denied(None),
    }
}

proptest! {
    #[test]
    fn envoy_decides_as_the_mesh_does(policies in policies(), caller in callers()) {
        let authorization = authorization(policies);
        let (deny, allow) = (deny(authorization.as_ref()), allow(authorization.as_ref()));
        let decision = authorization.as_ref().map_or(Decision::Unrestricted, |one| one.enforced.decide(&caller));
        let verdict = envoy(deny.clone(), allow.clone(), &caller, enforced);
        prop_assert!(is_of(&verdict, &decision), "{verdict:?} {decision:?}");
        if let Some(trial) = authorization.as_ref().and_then(|one| one.trial.as_ref()) {
            let (verdict, decision) = (envoy(deny, allow, &caller, shadow), trial.decide(&caller));
            prop_assert!(is_of(&verdict, &decision), "on trial: {verdict:?} {decision:?}");
        }
    }
}
