use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    Action, AppliedConfig, AuthorizationPolicy, DocumentKind, Documents, Endpoint, Fallback, Hostname, Ingress,
    MeshRules, MtlsRules, Origin, Pattern, Policies, PolicyConfig, Port, PortName, Position, Protocol, Rule, Scope,
    Service, ServicePlan, Shared, Source, Workload,
};

const HOST: &str = "mysql.db.shop.boshy";

fn content(mode: MtlsMode, instances: u8, dry_run: bool) -> SnapshotContent {
    let principals = vec![Pattern::parse("boshy/ns/shop/sa/web").unwrap()];
    content_with(mode, instances, dry_run, None, Source { principals, ..Source::default() })
}

/// A policy allows callers from this network; the port is captured.
fn by_address(mode: MtlsMode, ingress: Ingress) -> SnapshotContent {
    let ip_blocks = vec![network("10.9.0.0/16").unwrap(), network("10.0.0.0").unwrap()];
    content_with(mode, 2, false, Some(ingress), Source { ip_blocks, ..Source::default() })
}

fn content_with(
    mode: MtlsMode,
    instances: u8,
    dry_run: bool,
    ingress: Option<Ingress>,
    source: Source,
) -> SnapshotContent {
    let endpoint = |last: u8| {
        let ip = IpAddr::from([10, 0, 0, last]);
        let addresses = vec![crate::NetworkAddress { address: ip.into(), network: None }];
        let (deployment, group) = ("shop".into(), "db".into());
        Endpoint { ip, workload: Shared::new(Workload { deployment, group, addresses, ..Workload::default() }) }
    };
    let service = Service {
        host: Hostname::parse(HOST).unwrap(),
        origin: Origin { deployment: "shop".into(), group: "db".into(), job: "mysql".into() },
        ports: vec![Port { name: PortName::new("tcp").unwrap(), number: 3306, protocol: Protocol::Tcp, ingress }],
        endpoints: (0..instances).map(endpoint).collect(),
    };
    let position = Position { line: 7, column: 3 };
    let policy = AuthorizationPolicy {
        name: DocumentName {
            config: "net".into(),
            position,
            kind: DocumentKind::AuthorizationPolicy,
            name: "db".into(),
        },
        scope: Scope::default(),
        action: Action::Allow,
        dry_run,
        rules: vec![Rule { position: Position { line: 14, column: 5 }, from: vec![source], to: Vec::new() }],
    };
    let documents = Documents { authorizations: vec![policy], ..Documents::default() };
    let applied = Some(AppliedConfig { version: "1".into(), documents });
    let config = PolicyConfig { name: "net".into(), latest: "1".into(), applied, problems: Vec::new() };
    let mtls = MtlsRules::new(TrustDomain::default(), mode);
    let rules = MeshRules { mtls: Some(mtls), policies: Policies::of(&[config]), ..MeshRules::default() };
    let workloads: Vec<_> = service.endpoints.iter().map(|endpoint| endpoint.workload.clone()).collect();
    let plan =
        ServicePlan { service, vip: Ipv4Addr::new(169, 254, 255, 2), tunnel: None, withdrawn: Default::default() };
    SnapshotContent::join(vec![Shared::new(plan)], workloads, &rules, &SnapshotContent::default())
}

fn told(content: &SnapshotContent, from: &str, to: &str) -> Result<String, QuestionError> {
    let from = caller(from, &TrustDomain::default(), content)?;
    Verdict::of(content, &from, to).map(|verdict| verdict.to_string())
}

#[test]
fn a_verdict_names_document_and_line() {
    let content = content(MtlsMode::Strict, 2, false);
    let to = format!("{HOST}:3306");
    assert_eq!(
        told(&content, "shop/web", &to).unwrap(),
        "allowed: spiffe://boshy/ns/shop/sa/web -> mysql.db.shop.boshy:3306 (STRICT)\n\
         allowed by the rule in line 14 of AuthorizationPolicy \"db\" of config \"net\", line 7"
    );
    assert_eq!(
        told(&content, "spiffe://other/ns/shop/sa/web", &to).unwrap(),
        "denied: spiffe://other/ns/shop/sa/web -> mysql.db.shop.boshy:3306 (STRICT)\n\
         denied: no rule allows it of AuthorizationPolicy \"db\" of config \"net\", line 7"
    );
}

#[test]
fn a_verdict_tells_of_the_trial_and_of_callers_in_plaintext() {
    let to = format!("{HOST}:3306");
    assert_eq!(
        told(&content(MtlsMode::Permissive, 1, true), "shop/api", &to).unwrap(),
        "allowed: spiffe://boshy/ns/shop/sa/api -> mysql.db.shop.boshy:3306 (PERMISSIVE)\n\
         allowed: no policy speaks against it\n\
         with the policies on trial: denied: no rule allows it of AuthorizationPolicy \"db\" of config \"net\", line 7\n\
         note: anybody may connect in plaintext, because the port is PERMISSIVE"
    );
    let disabled = told(&content(MtlsMode::Disable, 1, false), "shop/api", &to).unwrap();
    assert!(
        disabled.ends_with("note: no policy is enforced, because the port is DISABLE: all connections are plaintext")
    );
}

#[test]
fn a_caller_by_address_is_told_what_binds_him_in_plaintext_and_as_an_instance() {
    let to = format!("{HOST}:3306");
    let ingress = |fallback| Ingress { fallback, original_src: false };
    let open = by_address(MtlsMode::Permissive, ingress(Fallback::Open));
    assert_eq!(
        told(&open, "10.9.0.1", &to).unwrap(),
        "allowed: 10.9.0.1 -> mysql.db.shop.boshy:3306 (PERMISSIVE)\n\
         allowed by the rule in line 14 of AuthorizationPolicy \"db\" of config \"net\", line 7\n\
         note: in plaintext, policies that name addresses are enforced, and no others; none is while Envoy is dead, and by IPv6"
    );
    assert!(told(&open, "10.8.0.1", &to).unwrap().starts_with("denied: 10.8.0.1 -> "));
    // An instance has a certificate as well.
    let denied = told(&open, "10.0.0.1", &to).unwrap();
    assert!(denied.starts_with("denied: spiffe://boshy/ns/shop/sa/db at 10.0.0.1 -> "), "{denied}");
    assert!(told(&open, "10.0.0.0", &to).unwrap().starts_with("allowed: spiffe://boshy/ns/shop/sa/db at 10.0.0.0"));
    assert_eq!(told(&open, "shop/web", &to).unwrap_err(), QuestionError::Address(to.clone()));

    let plain = by_address(MtlsMode::Disable, ingress(Fallback::Closed));
    let denied = told(&plain, "10.0.0.1", &to).unwrap();
    assert!(denied.starts_with("denied: 10.0.0.1 -> ") && denied.ends_with("are enforced, and no others"), "{denied}");
    assert_eq!(told(&plain, "shop/web", &to).unwrap_err(), QuestionError::Address(to.clone()));

    let strict = told(&content(MtlsMode::Strict, 1, false), "10.9.0.1", &to).unwrap();
    assert!(strict.contains("denied: the port is STRICT, so that nobody outside of the mesh reaches it"), "{strict}");
    let direct = told(&content(MtlsMode::Permissive, 1, false), "10.9.0.1", &to).unwrap();
    assert!(
        direct.contains("allowed: no policy speaks against it\nnote: anybody may connect in plaintext"),
        "{direct}"
    );
}

#[test]
fn a_question_about_nothing_is_answered_so() {
    let (content, empty) = (content(MtlsMode::Strict, 1, false), content(MtlsMode::Strict, 0, false));
    let error = |from: &str, to: &str| told(&content, from, to).unwrap_err().to_string();
    assert!(error("web", "x:1").starts_with("\"web\" is no caller"));
    assert!(error("a/b/c", "x:1").starts_with("\"a/b/c\" is no caller"));
    assert!(error("a b/c", "x:1").contains("cannot have an identity"));
    assert!(error("spiffe://a", "x:1").contains("no identity of the form"));
    assert!(error("a/b", HOST).contains("is no target"));
    assert!(error("a/b", "x:http").contains("is no target"));
    assert_eq!(error("a/b", "x.boshy:1"), "there is no service \"x.boshy\" in the mesh");
    assert_eq!(error("a/b", "mysql.db.shop.boshy:80"), "mysql.db.shop.boshy does not expose port 80");
    assert_eq!(told(&empty, "a/b", "mysql.db.shop.boshy:3306").unwrap_err(), QuestionError::Instances(HOST.into()));
}

#[test]
fn a_verdict_comes_back_as_it_was_sent() {
    let content = content(MtlsMode::Strict, 1, true);
    let from = caller("shop/web", &TrustDomain::default(), &content).unwrap();
    let verdict = Verdict::of(&content, &from, "mysql.db.shop.boshy:3306").unwrap();
    let json = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
}
