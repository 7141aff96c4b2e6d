//! Whom policies let through.

use boshy_mesh::{
    Action, AppliedConfig, AuthorizationPolicy, DocumentKind, DocumentName, Documents, Pattern, Policies, PolicyConfig,
    Position, Rule, Scope, Source,
};

use super::{
    program::{Manner, Program, failures},
    site::Site,
};
use crate::driver::try_admin;

/// Policies of these actions and principals; the last flag puts them on trial.
fn policies<const N: usize>(written: [(Action, &str, bool); N]) -> Policies {
    let policy = |(index, (action, principal, dry_run)): (usize, (Action, &str, bool))| {
        let position = Position { line: 10 * index as u32 + 1, column: 1 };
        let principals = vec![Pattern::parse(principal).unwrap()];
        let from = vec![Source { principals, ..Source::default() }];
        let kind = DocumentKind::AuthorizationPolicy;
        AuthorizationPolicy {
            name: DocumentName { config: "net".into(), position, kind, name: "p".into() },
            scope: Scope::default(),
            action,
            dry_run,
            rules: vec![Rule { position, from, to: Vec::new() }],
        }
    };
    let authorizations = written.into_iter().enumerate().map(policy).collect();
    let applied =
        Some(AppliedConfig { version: "1".into(), documents: Documents { authorizations, ..Documents::default() } });
    Policies::of(&[PolicyConfig { name: "net".into(), latest: "1".into(), applied, problems: Vec::new() }])
}

/// Whether a caller of group `g` reaches the program, and what the instance's Envoy counts. A program that is not reached
/// has not seen a connection either, so nothing that it would say first could have been heard.
async fn reached(policies: Policies) -> (bool, String) {
    let site = Site::with(policies);
    let program = Program::start(site.program(2), Manner::Echoes).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    let failed = failures(site.service(), 8).await;
    assert_eq!((failed == 0, failed == 8), (program.accepted() > 0, program.accepted() == 0), "all or none");
    let statistics = try_admin((site.ip(2), 8001).into(), "/stats?filter=rbac").await.unwrap();
    (failed == 0, statistics)
}

#[tokio::test]
async fn whom_an_allow_policy_does_not_name_is_refused_before_the_program_sees_a_connection() {
    assert!(!reached(policies([(Action::Allow, "boshy/ns/d/sa/other", false)])).await.0);
    assert!(reached(policies([(Action::Allow, "boshy/ns/d/sa/g", false)])).await.0);
}

#[tokio::test]
async fn a_deny_policy_wins_and_a_policy_on_trial_changes_nothing() {
    let (allow, deny) = ((Action::Allow, "boshy/*", false), (Action::Deny, "*/sa/g", false));
    assert!(!reached(policies([allow, deny])).await.0);
    let (is_reached, statistics) = reached(policies([allow, (Action::Deny, "*/sa/g", true)])).await;
    assert!(is_reached, "{statistics}");
    assert!(
        statistics.contains("http.mesh.rbac.policy.net/p:11:1.shadow_denied: 8"),
        "what it would do is counted: {statistics}"
    );
}
