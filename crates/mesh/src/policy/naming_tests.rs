use super::{
    super::{
        Action, Operation, PeerAuthentication, PortMode, Rule, Source, network,
        samples::{config, from, mode, policy},
    },
    *,
};
use crate::{
    Deployment, Ingress, InstanceGroup, Job, MtlsRules, Policies, Port, PortName, Protocol, Tld, VipRange, Workloads,
    discover,
};

/// Deployment `shop` with the groups `db`, whose job `mysql` exposes 3306, and `web`, which exposes nothing; deployment
/// `odd` with the group `a b`, which cannot have an identity.
fn inventory() -> Inventory {
    let exposing = |group: &str, job: &str, number: u16| {
        let ports = vec![Port { name: PortName::new("tcp").unwrap(), number, protocol: Protocol::Tcp, ingress: None }];
        let jobs = vec![Job { name: job.into(), ports, runtime_config: None }];
        InstanceGroup { name: group.into(), jobs, ..InstanceGroup::default() }
    };
    let web = InstanceGroup { name: "web".into(), ..InstanceGroup::default() };
    let groups = vec![exposing("db", "mysql", 3306), web];
    let shop = Deployment { name: "shop".into(), groups, ..Deployment::default() };
    let odd = Deployment { name: "odd".into(), groups: vec![exposing("a b", "odd", 80)], ..Deployment::default() };
    Inventory { deployments: vec![odd, shop], ..Inventory::default() }
}

fn problems(mode: MtlsMode, modes: Vec<PeerAuthentication>, authorizations: Vec<AuthorizationPolicy>) -> Vec<String> {
    let mtls = MtlsRules::new(TrustDomain::default(), mode);
    told(&MeshRules {
        mtls: Some(mtls),
        policies: Policies::of(&[config(modes, authorizations)]),
        ..MeshRules::default()
    })
}

fn told(rules: &MeshRules) -> Vec<String> {
    let inventory = inventory();
    let found = discover(&inventory, &Tld::default(), VipRange::default(), &Workloads::default());
    rules.problems(&inventory, &found).iter().map(ToString::to_string).collect()
}

const ODD: &str = r#"deployment "odd", instance group "a b", job "odd": is reached in plaintext only: instance group "a b" cannot have an identity: SPIFFE allows letters, digits, dots, dashes and underscores"#;

#[test]
fn documents_that_fit_the_mesh_are_no_problem() {
    let allow = policy("shop/db", 1, Action::Allow, vec![from(2, &["boshy/ns/shop/sa/web", "elsewhere/ns/x/sa/y"])]);
    assert_eq!(problems(MtlsMode::Strict, vec![mode("shop", 9, Some(MtlsMode::Strict))], vec![allow]), [ODD]);
    assert_eq!(problems(MtlsMode::Disable, vec![], vec![]), [""; 0]);
}

#[test]
fn a_document_about_nothing_says_so() {
    let allow = |scope: &str| {
        let policy = policy(scope, 1, Action::Allow, vec![from(2, &["*"])]);
        let problems = problems(MtlsMode::Strict, vec![], vec![policy]);
        problems.into_iter().filter(|problem| problem != ODD).collect::<Vec<_>>().join("\n")
    };
    let place =
        |name: &str| format!(r#"boshy config "net", AuthorizationPolicy "{name}", line 1, column 1: applies to "#);
    assert_eq!(allow("bank"), place("bank") + r#"the deployment "bank", which does not exist"#);
    assert_eq!(allow("shop/x"), place("shop/x") + r#"the instance group "x", which does not exist there"#);
    assert_eq!(allow("shop/web"), place("shop/web") + "an instance group that exposes no port");
    assert_eq!(allow("shop/db/x"), place("shop/db/x") + r#"the job "x", which exposes no port there"#);
}

#[test]
fn a_port_that_nobody_exposes_and_a_caller_who_does_not_exist_are_named_at_their_lines() {
    let to = vec![Operation { ports: [3306, 3307].into(), not_ports: Default::default() }];
    let rule = Rule { to, ..from(5, &["boshy/ns/shop/sa/wbe", "boshy/ns/x/*"]) };
    let mut rule_of_namespace = from(7, &[]);
    rule_of_namespace.from[0].namespaces = vec![Pattern::parse("shop*").unwrap(), Pattern::parse("bank").unwrap()];
    let policy = policy("shop/db", 1, Action::Allow, vec![rule, rule_of_namespace]);
    let mut document = mode("shop/db", 9, None);
    document.ports.insert(80, PortMode { mode: None, position: Position { line: 11, column: 7 } });
    let place = r#"boshy config "net", AuthorizationPolicy "shop/db", line"#;
    assert_eq!(
        problems(MtlsMode::Strict, vec![document], vec![policy]),
        [
            format!("{place} 5, column 3: names the principal boshy/ns/shop/sa/wbe, who does not exist"),
            format!("{place} 7, column 3: names the deployment bank, which does not exist"),
            r#"boshy config "net", PeerAuthentication "shop/db", line 11, column 7: names port 80, which no service that it applies to exposes"#.into(),
            format!("{place} 5, column 3: names port 3307, which no service that it applies to exposes"),
            ODD.into(),
        ]
    );
}

#[test]
fn a_policy_that_callers_in_plaintext_pass_by_says_so_unless_it_is_on_trial() {
    let allow = policy("", 1, Action::Allow, vec![from(2, &["*"])]);
    let trial = AuthorizationPolicy { dry_run: true, ..allow.clone() };
    let told = problems(MtlsMode::Permissive, vec![], vec![allow, trial]);
    assert_eq!(
        told[1..],
        [
            r#"boshy config "net", AuthorizationPolicy "", line 1, column 1: is not enforced for callers in plaintext at odd.ab.odd.boshy port 80 (DISABLE), mysql.db.shop.boshy port 3306 (PERMISSIVE)"#
        ]
    );
}

#[test]
fn of_contradicting_documents_the_overruled_one_is_told() {
    let (strict, permissive) = (mode("shop", 1, Some(MtlsMode::Strict)), mode("shop", 4, Some(MtlsMode::Permissive)));
    assert_eq!(
        problems(MtlsMode::Disable, vec![strict, permissive], vec![]),
        [
            r#"boshy config "net", PeerAuthentication "shop", line 4, column 1: says PERMISSIVE for mysql.db.shop.boshy port 3306, but PeerAuthentication "shop" of config "net", line 1 says STRICT: the stricter applies"#
        ]
    );
}

#[test]
fn without_an_authority_no_document_has_an_effect() {
    let policies = Policies::of(&[config(vec![mode("shop", 1, Some(MtlsMode::Strict))], vec![])]);
    let told = told(&MeshRules { policies, ..MeshRules::default() });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("no certificate authority"), "{told:?}");
}

#[test]
fn a_long_list_is_cut() {
    let names: Vec<_> = (0..5).map(|number| number.to_string()).collect();
    assert_eq!(listed(&names[..0]), None);
    assert_eq!(listed(&names[..3]).unwrap(), "0, 1, 2");
    assert_eq!(listed(&names).unwrap(), "0, 1, 2 and 2 more");
}

#[test]
fn a_strict_port_that_is_to_be_captured_says_that_it_is_not() {
    let mut inventory = inventory();
    inventory.deployments[1].groups[0].jobs[0].ports[0].ingress = Some(Ingress::default());
    let found = discover(&inventory, &Tld::default(), VipRange::default(), &Workloads::default());
    let told = |mode| {
        let mtls = MtlsRules::new(TrustDomain::default(), mode);
        let rules = MeshRules { mtls: Some(mtls), ..MeshRules::default() };
        let problems = rules.problems(&inventory, &found).iter().map(ToString::to_string).collect::<Vec<_>>();
        problems.into_iter().filter(|problem| problem != ODD).collect::<Vec<_>>().join("\n")
    };
    let place = r#"deployment "shop", instance group "db", job "mysql", expose_ports[0].ingress: "#;
    assert!(told(MtlsMode::Strict).starts_with(&format!("{place}has no effect: the mode of this port is STRICT")));
    for mode in [MtlsMode::Permissive, MtlsMode::Disable] {
        assert_eq!(told(mode), "", "{mode:?}");
    }
}

#[test]
fn a_policy_by_address_says_where_callers_in_plaintext_pass_it_by() {
    let ip_blocks = vec![network("10.9.0.0/16").unwrap()];
    let rule = Rule { from: vec![Source { ip_blocks, ..Source::default() }], ..from(2, &[]) };
    let policies = Policies::of(&[config(vec![], vec![policy("shop/db", 1, Action::Deny, vec![rule])])]);
    let told = |mtls: Option<MtlsMode>, fallback: Option<Fallback>| {
        let mut inventory = inventory();
        let ingress = fallback.map(|fallback| Ingress { fallback, original_src: false });
        inventory.deployments[1].groups[0].jobs[0].ports[0].ingress = ingress;
        let found = discover(&inventory, &Tld::default(), VipRange::default(), &Workloads::default());
        let mtls = mtls.map(|mode| MtlsRules::new(TrustDomain::default(), mode));
        let problems =
            MeshRules { mtls, policies: policies.clone(), ..MeshRules::default() }.problems(&inventory, &found);
        let told: Vec<_> = problems.iter().map(ToString::to_string).filter(|problem| problem != ODD).collect();
        let place = r#"boshy config "net", AuthorizationPolicy "shop/db", line 1, column 1: "#;
        told.join("\n").replace(&format!("{place}is not enforced for callers in plaintext at "), "")
    };
    let (permissive, port) = (Some(MtlsMode::Permissive), "mysql.db.shop.boshy port 3306");
    assert_eq!(told(permissive, None), format!("{port} (PERMISSIVE)"));
    // It needs no certificate.
    for mtls in [permissive, Some(MtlsMode::Disable), None] {
        assert_eq!(told(mtls, Some(Fallback::Closed)), "", "{mtls:?}");
        let open = format!("{port} (captured, but open without Envoy and by IPv6)");
        assert_eq!(told(mtls, Some(Fallback::Open)), open, "{mtls:?}");
    }
    assert!(told(None, None).ends_with(NO_AUTHORITY));
}
