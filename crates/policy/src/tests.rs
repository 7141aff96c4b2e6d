use boshy_mesh::{
    Action, AuthorizationPolicy, MtlsMode, Operation, Pattern, PeerAuthentication, Scope, Source, network,
};

use super::*;

fn config(content: &str) -> WrittenConfig {
    WrittenConfig { name: "net".into(), content: content.into() }
}

fn documents(content: &str) -> Documents {
    read(&config(content)).unwrap()
}

/// `LINE:COLUMN reason` of each problem.
fn problems(content: &str) -> Vec<String> {
    let told = |problem: Problem| {
        assert_eq!(problem.place.config.unwrap().name, "net");
        let Position { line, column } = problem.place.position.unwrap_or_default();
        format!("{line}:{column} {}", problem.reason)
    };
    read(&config(content)).unwrap_err().into_iter().map(told).collect()
}

fn policy(content: &str) -> AuthorizationPolicy {
    documents(content).authorizations.pop().unwrap()
}

fn mode(content: &str) -> PeerAuthentication {
    documents(content).modes.pop().unwrap()
}

/// An `AuthorizationPolicy` with this `spec`, whose lines begin at line 5.
fn with_spec(spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: db, namespace: shop}}\nspec:\n{spec}"
    )
}

fn patterns(written: &[&str]) -> Vec<Pattern> {
    written.iter().map(|written| Pattern::parse(written).unwrap()).collect()
}

#[test]
fn a_policy_means_what_it_says() {
    let policy = policy(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: db
  namespace: shop
  annotations: {istio.io/dry-run: \"true\"}
spec:
  selector: {matchLabels: {group: db, job: mysql}}
  action: DENY
  rules:
  - from:
    - source:
        principals: [boshy/ns/shop/sa/web, spiffe://other/ns/a/sa/b]
        notPrincipals: ['*/sa/batch']
    - source: {namespaces: [shop*], notNamespaces: [shop-test]}
    - source: {ipBlocks: [10.9.0.0/16, 'fd00::1'], notIpBlocks: [10.9.7.0/24]}
    to:
    - operation: {ports: [3306, '3307'], notPorts: ['3308']}
  - {}
",
    );
    assert_eq!(policy.name.to_string(), r#"AuthorizationPolicy "db" of config "net", line 1"#);
    let scope = Scope { deployment: Some("shop".into()), group: Some("db".into()), job: Some("mysql".into()) };
    assert_eq!((policy.scope, policy.action, policy.dry_run), (scope, Action::Deny, true));
    let [rule, everything] = &policy.rules[..] else { panic!("{:?}", policy.rules) };
    assert_eq!(rule.position, Position { line: 11, column: 5 });
    assert_eq!(
        rule.from,
        [
            Source {
                principals: patterns(&["boshy/ns/shop/sa/web", "other/ns/a/sa/b"]),
                not_principals: patterns(&["*/sa/batch"]),
                ..Source::default()
            },
            Source { namespaces: patterns(&["shop*"]), not_namespaces: patterns(&["shop-test"]), ..Source::default() },
            Source {
                ip_blocks: ["10.9.0.0/16", "fd00::1"].map(|written| network(written).unwrap()).into(),
                not_ip_blocks: vec![network("10.9.7.0/24").unwrap()],
                ..Source::default()
            },
        ]
    );
    assert_eq!(rule.to, [Operation { ports: [3306, 3307].into(), not_ports: [3308].into() }]);
    assert!(everything.from.is_empty() && everything.to.is_empty());
}

#[test]
fn a_policy_allows_by_default_and_without_rules_it_matches_nobody() {
    for spec in ["  rules: []\n", "  rules:\n", "  action: ALLOW\n", "  {}\n"] {
        let policy = policy(&with_spec(spec));
        assert_eq!((policy.action, policy.dry_run, policy.rules.len()), (Action::Allow, false, 0), "{spec}");
    }
}

#[test]
fn a_mode_means_what_it_says() {
    let mode = mode(
        "apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: db, namespace: '*'}
spec:
  selector: {matchLabels: {group: db}}
  mtls: {mode: STRICT}
  portLevelMtls:
    3306: {mode: PERMISSIVE}
    '3307':
      mode: UNSET
",
    );
    assert_eq!(mode.scope, Scope { deployment: None, group: Some("db".into()), job: None });
    assert_eq!(mode.mode, Some(MtlsMode::Strict));
    let ports: Vec<_> = mode.ports.iter().map(|(number, port)| (*number, port.mode, port.position.line)).collect();
    assert_eq!(ports, [(3306, Some(MtlsMode::Permissive), 8), (3307, None, 10)]);
}

#[test]
fn a_config_holds_one_document_or_a_list_of_them() {
    let one = |kind: &str, name: &str, spec: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
        )
    };
    let (mode, allow) =
        (one("PeerAuthentication", "a", "{mtls: {mode: STRICT}}"), one("AuthorizationPolicy", "b", "{}"));
    assert_eq!(documents(&mode).modes.len(), 1);
    let both = documents(&format!("documents:\n- {mode}\n- {allow}\n"));
    assert_eq!((both.modes[0].name.position.line, both.authorizations[0].name.position.line), (2, 3));
    assert_eq!(documents("documents: []"), Documents::default());
    assert_eq!(problems(&format!("documents: []\nmore: {allow}\n")), ["2:1 is not known beside `documents`"]);
    assert_eq!(
        problems(&format!("documents: [{allow}, {allow}]\n")),
        [format!(
            "1:{} there is another AuthorizationPolicy \"b\" for the same namespace in this config",
            15 + allow.len()
        )]
    );
}

#[test]
fn what_is_no_document_is_refused_at_its_place() {
    for (content, told) in [
        ("", "1:1 the config is empty"),
        ("a: [", "2:1 did not find expected node content"),
        ("- a", "1:1 must be a map"),
        ("documents: 5", "1:12 `documents` must be a list"),
        ("documents: [5]", "1:13 must be a map"),
        ("routes: []", "1:1 `kind` is missing"),
        ("kind: []", "1:7 `kind` must be text"),
        ("kind: VirtualService", "1:7 `kind` must be PeerAuthentication or AuthorizationPolicy, is \"VirtualService\""),
    ] {
        assert_eq!(problems(content), [told], "{content}");
    }
    let large = format!("a: {}", "x".repeat(5 << 20));
    assert_eq!(problems(&large), ["0:0 the YAML text has 5242883 bytes, at most 4194304 are read"]);
}

#[test]
fn an_unknown_field_is_refused_wherever_it_is() {
    for (spec, at) in [
        ("  acton: DENY\n", "5:3"),
        ("  selector: {matchLabel: {group: db}}\n", "5:14"),
        ("  selector: {matchLabels: {app: db}}\n", "5:28"),
        ("  rules: [{form: []}]\n", "5:12"),
        ("  rules: [{from: [{sources: {}}]}]\n", "5:20"),
        ("  rules: [{from: [{source: {principal: []}}]}]\n", "5:29"),
        ("  rules: [{to: [{operation: {port: []}}]}]\n", "5:30"),
    ] {
        let problems = problems(&with_spec(spec));
        assert!(problems.len() == 1 && problems[0].starts_with(&format!("{at} unknown field ")), "{problems:?}");
    }
    let metadata = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b, annotations: {istio.io/dryrun: 'true'}}\nspec: {}\n";
    assert!(problems(metadata)[0].starts_with("3:49 unknown field `istio.io/dryrun`"));
}

#[test]
fn fields_about_http_are_refused_until_routes_exist() {
    let source = |field: &str| with_spec(&format!("  rules: [{{from: [{{source: {{{field}: [a]}}}}]}}]\n"));
    let operation = |field: &str| with_spec(&format!("  rules: [{{to: [{{operation: {{{field}: [a]}}}}]}}]\n"));
    for field in ["requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks"] {
        let told = problems(&source(field));
        assert!(told.len() == 1 && told[0].contains(&format!("`{field}` is about HTTP requests")), "{told:?}");
        assert!(told[0].contains("until HTTP routes exist"), "{told:?}");
    }
    for field in ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"] {
        let told = problems(&operation(field));
        assert!(told.len() == 1 && told[0].contains(&format!("`{field}` is about HTTP requests")), "{told:?}");
    }
    for field in ["ipBlocks", "notIpBlocks"] {
        let told = problems(&source(field));
        assert!(told.len() == 1 && told[0].contains(&format!("`{field}` must be an address or a network")), "{told:?}");
    }
    let when = problems(&with_spec("  rules: [{when: [{key: a}]}]\n"));
    assert!(when[0].starts_with("5:18 `when` is about HTTP requests"), "{when:?}");
    for field in ["serviceAccounts", "notServiceAccounts"] {
        let told = problems(&source(field));
        assert!(told.len() == 1 && told[0].contains("is not supported"), "{told:?}");
    }
}

#[test]
fn a_list_that_is_written_and_empty_is_no_wildcard() {
    for (spec, told) in [
        ("  rules: [{from: []}]", "5:18 `from` must not be empty: leave it out to match everything"),
        ("  rules: [{from: }]", "5:18 `from` must not be empty: leave it out to match everything"),
        ("  rules: [{to: []}]", "5:16 `to` must not be empty: leave it out to match everything"),
        ("  rules: [{from: [{}]}]", "5:19 `source` is missing"),
        ("  rules: [{to: [{}]}]", "5:17 `operation` is missing"),
        ("  rules: [{from: [{source: {}}]}]", "5:19 `source` must not be empty: leave it out to match everything"),
        ("  rules: [{to: [{operation: {}}]}]", "5:17 `operation` must not be empty: leave it out to match everything"),
        (
            "  rules: [{from: [{source: {principals: []}}]}]",
            "5:41 `principals` must not be empty: leave it out to match everything",
        ),
        (
            "  rules: [{to: [{operation: {ports: }}]}]",
            "5:37 `ports` must not be empty: leave it out to match everything",
        ),
    ] {
        assert_eq!(problems(&with_spec(spec))[..1], [told], "{spec}");
    }
    assert!(problems(&with_spec("  rules: [null]"))[0].contains("must be a map"));
}

#[test]
fn all_wrong_values_are_told_at_once() {
    let spec = "  action: AUDIT
  selector: {matchLabels: {}}
  rules:
  - from:
    - source:
        principals: [boshy/ns/shop, 'a*b']
        namespaces: [a/b]
    to:
    - operation: {ports: [0, http]}
";
    assert_eq!(
        problems(&with_spec(spec)),
        [
            "5:11 `action` must be ALLOW or DENY, is \"AUDIT\"",
            "6:13 `selector` needs `matchLabels` with `group`, `job` or both; leave it out to select all",
            "10:22 `principals` \"spiffe://boshy/ns/shop\" is no identity of the form spiffe://TRUST_DOMAIN/ns/DEPLOYMENT/sa/GROUP",
            "10:37 `principals` \"a*b\" is no pattern: write a name of letters, digits, dots, dashes, underscores and slashes, with at most one `*`, as its first or last character",
            "11:22 `namespaces` must be the name of a deployment, is \"a/b\"",
            "13:27 `ports` must be a port number from 1 to 65535, is \"0\"",
            "13:30 `ports` must be a port number from 1 to 65535, is \"http\"",
        ]
    );
}

#[test]
fn the_head_of_a_document_must_be_complete() {
    let head = |head: &str| problems(&format!("kind: PeerAuthentication\n{head}spec: {{mtls: {{mode: STRICT}}}}\n"));
    let namespace = "`metadata.namespace` is missing; it is the deployment to which the document applies, or \"*\" for the whole mesh";
    assert_eq!(head(""), ["1:1 `apiVersion` is missing; it is security.istio.io/v1", "1:1 `metadata` is missing"]);
    assert_eq!(
        head("apiVersion: v2\nmetadata: {}\n"),
        [
            "1:1 `metadata.name` is missing".into(),
            format!("1:1 {namespace}"),
            "2:13 `apiVersion` must be security.istio.io/v1 or security.istio.io/v1beta1, is \"v2\"".into(),
        ]
    );
    let dry =
        "apiVersion: security.istio.io/v1\nmetadata: {name: a, namespace: b, annotations: {istio.io/dry-run: true}}\n";
    assert_eq!(head(dry), ["3:67 `istio.io/dry-run` has no meaning for a PeerAuthentication"]);
}

#[test]
fn a_mode_that_says_nothing_or_something_else_is_refused() {
    let spec = |spec: &str| {
        problems(&format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: a, namespace: b}}\nspec: {spec}\n"
        ))
    };
    assert_eq!(spec("{}"), ["1:1 says nothing: give `spec.mtls` or `spec.portLevelMtls`"]);
    assert_eq!(spec("{mtls: {}}"), ["4:14 `mode` is missing"]);
    assert_eq!(
        spec("{mtls: {mode: strict}}"),
        ["4:21 `mode` must be DISABLE or PERMISSIVE or STRICT or UNSET, is \"strict\""]
    );
    assert_eq!(spec("{portLevelMtls: {80: {mode: STRICT}}}"), ["4:23 `portLevelMtls` needs a `selector`, as in Istio"]);
    assert_eq!(
        spec("{selector: {matchLabels: {group: g}}, portLevelMtls: {70000: {mode: STRICT}}}"),
        ["4:68 `portLevelMtls` must be a port number from 1 to 65535, is \"70000\""]
    );
}

proptest::proptest! {
    /// Whatever is written, it is read or refused.
    #[test]
    fn no_text_panics(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "documents:", "- ", "\n", " ", "  ", "kind: AuthorizationPolicy", "kind: PeerAuthentication", "spec:",
                "metadata: {name: a, namespace: b}", "apiVersion: security.istio.io/v1", "rules:", "from:", "source:",
                "principals: ['*']", "{", "}", "[", "]", ",", "&a ", "*a", "mtls: {mode: STRICT}", "null", "<<: ",
            ]),
            0..40,
        ),
    ) {
        let _ = read(&config(&parts.concat()));
    }
}
