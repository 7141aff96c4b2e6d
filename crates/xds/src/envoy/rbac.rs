//! Who may open a tunnel: policies as two filters of Envoy, which decide as `PolicySet::decide` does.
//!
//! Envoy's filter has one action. So DENY policies have a filter of their own before that of ALLOW policies, as in Istio.
//! What policies say about a port is in the configuration of its virtual host and of its route: one filter in each,
//! because the encoding of a map with two entries has no order, and equal routes would have unequal versions.

use boshy_mesh::{Authorization, DocumentName, Pattern, PolicyOfPort, PolicySet, Position, RuleOfPort, Source};
use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::CidrRange,
            rbac::v3::{
                Permission, Policy, Principal,
                permission::Rule,
                principal::{Authenticated, Identifier, Set},
                rbac::Action,
            },
        },
        extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter},
        r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{Any, UInt32Value},
};
use ipnet::IpNet;
use prost::Message;

/// Name of the filter of DENY policies. Without a configuration of the virtual host it denies nobody.
pub(super) const DENY: &str = "rbac_deny";
/// Name of the filter of ALLOW policies. Without a configuration of the route it denies everybody.
pub(super) const ALLOW: &str = "rbac";
/// Name of the rule that allows every caller in the mesh, where no ALLOW policy applies.
const MESH: &str = "mesh";

/// Both filters, in their order.
pub(super) fn filters() -> [HttpFilter; 2] {
    let nothing = wire::Filter::default();
    let nobody = wire::Filter { rules: Some(rules(Action::Allow, &[])), ..wire::Filter::default() };
    [(DENY, nothing), (ALLOW, nobody)].map(|(name, filter)| HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(packed("RBAC", &filter))),
        ..HttpFilter::default()
    })
}

/// What DENY policies say about a port; `None` when none applies to it.
pub(super) fn deny(authorization: Option<&Authorization>) -> Option<Any> {
    let said = |set: &PolicySet| (!set.deny.is_empty()).then(|| rules(Action::Deny, &set.deny));
    let Authorization { enforced, trial } = authorization?;
    let (rules, shadow_rules) = (said(enforced), trial.as_ref().and_then(said));
    (rules.is_some() || shadow_rules.is_some()).then(|| of_route(rules, shadow_rules))
}

/// What ALLOW policies say about a port.
pub(super) fn allow(authorization: Option<&Authorization>) -> Any {
    let said = |set: Option<&PolicySet>| match set {
        Some(set) if !set.allow.is_empty() => rules(Action::Allow, &set.allow),
        _ => everybody(),
    };
    let trial = authorization.and_then(|authorization| authorization.trial.as_ref());
    let enforced = authorization.map(|authorization| &authorization.enforced);
    of_route(Some(said(enforced)), trial.map(|trial| said(Some(trial))))
}

fn of_route(rules: Option<wire::Rules>, shadow_rules: Option<wire::Rules>) -> Any {
    // Each rule is counted by its name, also on trial: the sums of a filter are those of all ports.
    let filter = wire::Filter { rules, shadow_rules, track_per_rule_stats: true };
    packed("RBACPerRoute", &wire::OfRoute { rbac: Some(filter) })
}

fn rules(action: Action, policies: &[PolicyOfPort]) -> wire::Rules {
    let named = policies.iter().flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
    let policies =
        named.map(|(policy, rule)| (name(&policy.document, rule.position), policy_of(callers(rule)))).collect();
    wire::Rules { action: action.into(), policies }
}

fn everybody() -> wire::Rules {
    let policies = [(MESH.to_owned(), policy_of(vec![authenticated(None)]))].into();
    wire::Rules { action: Action::Allow.into(), policies }
}

/// `CONFIG/DOCUMENT:LINE:COLUMN` of a rule. It is shown in Envoy's log and statistics.
pub(super) fn name(document: &DocumentName, rule: Position) -> String {
    format!("{}/{}:{}:{}", document.config, document.name, rule.line, rule.column)
}

/// Matches connections of these callers. The port is the virtual host's.
fn policy_of(principals: Vec<Principal>) -> Policy {
    let permissions = vec![Permission { rule: Some(Rule::Any(true)) }];
    Policy { permissions, principals, ..Policy::default() }
}

/// The callers of a rule; one of them has to match.
fn callers(rule: &RuleOfPort) -> Vec<Principal> {
    if rule.from.is_empty() { vec![authenticated(None)] } else { rule.from.iter().map(caller).collect() }
}

fn caller(source: &Source) -> Principal {
    let Source { principals, not_principals, namespaces, not_namespaces, ip_blocks, not_ip_blocks } = source;
    let one_of = |patterns: &[Pattern], matcher: fn(&Pattern) -> Option<MatchPattern>| {
        let ids = patterns.iter().map(|pattern| authenticated(matcher(pattern))).collect();
        (!patterns.is_empty()).then(|| principal(Identifier::OrIds(Set { ids })))
    };
    let within = |networks: &[IpNet]| {
        let ids = networks.iter().map(address).collect();
        (!networks.is_empty()).then(|| principal(Identifier::OrIds(Set { ids })))
    };
    let not = |one: Principal| principal(Identifier::NotId(Box::new(one)));
    let ids = [
        one_of(principals, identity),
        one_of(not_principals, identity).map(not),
        one_of(namespaces, deployment),
        one_of(not_namespaces, deployment).map(not),
        within(ip_blocks),
        within(not_ip_blocks).map(not),
    ];
    principal(Identifier::AndIds(Set { ids: ids.into_iter().flatten().collect() }))
}

/// Matches a caller whose certificate has such a URI SAN. Envoy compares with the DNS SAN and the subject as well, so
/// every text begins as no other name of a certificate does: with `spiffe://`.
fn authenticated(name: Option<MatchPattern>) -> Principal {
    let principal_name = name.map(|pattern| StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() });
    principal(Identifier::Authenticated(Authenticated { principal_name }))
}

/// Matches a caller by the address of the connection that carries his tunnel, which is his VM's.
fn address(network: &IpNet) -> Principal {
    let prefix_len = Some(UInt32Value { value: network.prefix_len().into() });
    principal(Identifier::DirectRemoteIp(CidrRange { address_prefix: network.addr().to_string(), prefix_len }))
}

fn principal(identifier: Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

fn identity(pattern: &Pattern) -> Option<MatchPattern> {
    Some(match pattern {
        Pattern::Any => return None,
        Pattern::Exact(text) => MatchPattern::Exact(format!("spiffe://{text}")),
        Pattern::Prefix(text) => MatchPattern::Prefix(format!("spiffe://{text}")),
        Pattern::Suffix(text) => regex(format!("spiffe://.*{}", escaped(text))),
    })
}

fn deployment(pattern: &Pattern) -> Option<MatchPattern> {
    let name = match pattern {
        Pattern::Any => return None,
        Pattern::Exact(text) => escaped(text),
        Pattern::Prefix(text) => format!("{}[^/]*", escaped(text)),
        Pattern::Suffix(text) => format!("[^/]*{}", escaped(text)),
    };
    Some(regex(format!("spiffe://[^/]+/ns/{name}/sa/[^/]+")))
}

/// An expression that the whole name has to match.
fn regex(regex: String) -> MatchPattern {
    MatchPattern::SafeRegex(RegexMatcher { regex, ..RegexMatcher::default() })
}

/// Of the characters of a pattern only the dot has a meaning in an expression.
fn escaped(text: &str) -> String {
    text.replace('.', "\\.")
}

fn packed(message: &str, value: &impl Message) -> Any {
    let type_url = format!("type.googleapis.com/envoy.extensions.filters.http.rbac.v3.{message}");
    Any { type_url, value: value.encode_to_vec() }
}

/// The messages around policies, with the policies in order: those of `envoy_types` have none, so that equal rules would
/// have unequal versions.
mod wire {
    use std::collections::BTreeMap;

    use envoy_types::pb::envoy::config::rbac::v3::{Policy, rbac::Action};
    use prost::Message;

    /// `envoy.extensions.filters.http.rbac.v3.RBACPerRoute`.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct OfRoute {
        #[prost(message, optional, tag = "2")]
        pub(super) rbac: Option<Filter>,
    }

    /// `envoy.extensions.filters.http.rbac.v3.RBAC`.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Filter {
        #[prost(message, optional, tag = "1")]
        pub(super) rules: Option<Rules>,
        #[prost(message, optional, tag = "2")]
        pub(super) shadow_rules: Option<Rules>,
        #[prost(bool, tag = "7")]
        pub(super) track_per_rule_stats: bool,
    }

    /// `envoy.config.rbac.v3.RBAC`.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Rules {
        #[prost(enumeration = "Action", tag = "1")]
        pub(super) action: i32,
        #[prost(btree_map = "string, message", tag = "2")]
        pub(super) policies: BTreeMap<String, Policy>,
    }
}

#[cfg(test)]
#[path = "rbac_tests.rs"]
mod tests;
