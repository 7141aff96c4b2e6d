//! Whom policies let through, and what is told of those whom they do not.

use std::{net::SocketAddr, time::Duration};

use boshy_mesh::{
    Action, AppliedConfig, AuthorizationPolicy, DocumentKind, DocumentName, Documents, Pattern, Policies, PolicyConfig,
    Position, Rule, Scope, Source, network,
};

use boshy_xds::{RefusalReason, RefusedTunnel, SeenRefusal, Side};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    program::{Manner, Program},
    site::{PORT, Site, Vm},
};
use crate::driver::{DEADLINE, try_admin};

/// Connections of each test.
const CALLS: usize = 8;

/// Policies of these actions and principals; the last flag puts them on trial.
pub(crate) fn policies<const N: usize>(written: [(Action, &str, bool); N]) -> Policies {
    let of_principal = |principal| Source { principals: vec![Pattern::parse(principal).unwrap()], ..Source::default() };
    written_as(written.map(|(action, principal, dry_run)| (action, of_principal(principal), dry_run)))
}

fn written_as<const N: usize>(written: [(Action, Source, bool); N]) -> Policies {
    let policy = |(index, (action, source, dry_run)): (usize, (Action, Source, bool))| {
        let position = Position { line: 10 * index as u32 + 1, column: 1 };
        let from = vec![source];
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

/// What becomes of eight connections of a caller of group `g`.
struct Called {
    reached: bool,
    /// What the instance's Envoy counts.
    statistics: String,
    /// What both Envoys report, the caller's first.
    reports: [Vec<SeenRefusal>; 2],
    slowest: Duration,
}

/// All connections reach the program, or none. A program that is not reached has not seen a connection either, so
/// nothing that it would say first could have been heard.
async fn called(policies: Policies, manner: Manner) -> Called {
    let site = Site::with(policies);
    let program = Program::start(site.program(2), manner).await;
    let (instance, caller) = (site.instance(2).await, site.caller(&[2]).await);
    let (mut failed, mut slowest) = (0, Duration::ZERO);
    for _ in 0..CALLS {
        let begun = Instant::now();
        failed += usize::from(heard(site.service(), manner).await.is_empty());
        slowest = slowest.max(begun.elapsed());
    }
    assert_eq!((failed == 0, failed == CALLS), (program.accepted() > 0, program.accepted() == 0), "all or none");
    let statistics = try_admin((site.ip(2), 8001).into(), "/stats?filter=rbac").await.unwrap();
    let reports = if failed > 0 { [reports(&caller).await, reports(&instance).await] } else { Default::default() };
    Called { reached: failed == 0, statistics, reports, slowest }
}

/// What a client hears of the program, which speaks first or is spoken to.
async fn heard(service: SocketAddr, manner: Manner) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut stream = TcpStream::connect(service).await.unwrap();
    let exchange = async {
        if manner != Manner::Greets {
            stream.write_all(b"question").await?;
        }
        stream.read_buf(&mut heard).await
    };
    let _ = timeout(DEADLINE, exchange).await.expect("it is answered or closed");
    heard
}

/// What an Envoy reports, once that is all.
async fn reports(vm: &Vm) -> Vec<SeenRefusal> {
    let told = async {
        while vm.refusals.counts().values().sum::<u64>() < CALLS as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, told).await.expect("Envoy reports each refusal");
    vm.refusals.latest()
}

#[tokio::test]
async fn whom_an_allow_policy_does_not_name_is_refused_before_the_program_sees_a_connection() {
    for manner in [Manner::Echoes, Manner::Greets] {
        let refused = called(policies([(Action::Allow, "boshy/ns/d/sa/other", false)]), manner).await;
        assert!(!refused.reached);
        eprintln!("a caller that is denied is closed within {:?}", refused.slowest);
        assert!(refused.slowest < Duration::from_secs(2), "{:?}", refused.slowest);
        assert!(called(policies([(Action::Allow, "boshy/ns/d/sa/g", false)]), manner).await.reached);
    }
}

#[tokio::test]
async fn the_address_of_a_tunnels_caller_is_that_of_his_vm() {
    // Where connections within loopback come from.
    for (networks, reached) in [(&["127.0.0.1", "fd00::/8"][..], true), (&["127.0.0.2", "10.0.0.0/8"], false)] {
        let ip_blocks: Vec<_> = networks.iter().map(|written| network(written).unwrap()).collect();
        let within = Source { ip_blocks: ip_blocks.clone(), ..Source::default() };
        let elsewhere = Source { not_ip_blocks: ip_blocks, ..Source::default() };
        assert_eq!(called(written_as([(Action::Allow, within, false)]), Manner::Greets).await.reached, reached);
        assert_eq!(called(written_as([(Action::Allow, elsewhere, false)]), Manner::Greets).await.reached, !reached);
    }
}

#[tokio::test]
async fn both_ends_report_a_refusal_and_the_instance_names_the_rule() {
    let refused = called(policies([(Action::Deny, "*/sa/g", false)]), Manner::Echoes).await;
    let [caller, instance] = refused.reports.map(|mut seen| seen.pop().unwrap().tunnel);
    let target = format!("web.g.d.boshy:{PORT}");
    assert_eq!((caller.side, caller.caller, caller.target), (Side::Caller, None, target.clone()));
    // Envoy 1.36 does not say what the instance has answered.
    let of_the_answer = (RefusalReason::Denied, "tunnel_response:403");
    assert!([of_the_answer, (RefusalReason::Unreachable, "")].contains(&(caller.reason, &caller.details)));
    let expected = RefusedTunnel {
        side: Side::Instance,
        reason: RefusalReason::Denied,
        caller: Some("spiffe://boshy/ns/d/sa/g".into()),
        target,
        details: "rbac_access_denied_matched_policy[net/p:1:1]".into(),
    };
    assert_eq!(instance, expected);
}

#[tokio::test]
async fn a_deny_policy_wins_and_a_policy_on_trial_changes_nothing() {
    let (allow, deny) = ((Action::Allow, "boshy/*", false), (Action::Deny, "*/sa/g", false));
    assert!(!called(policies([allow, deny]), Manner::Echoes).await.reached);
    let called = called(policies([allow, (Action::Deny, "*/sa/g", true)]), Manner::Echoes).await;
    assert!(called.reached, "{}", called.statistics);
    assert!(
        called.statistics.contains("http.mesh.rbac.policy.net/p:11:1.shadow_denied: 8"),
        "what it would do is counted: {}",
        called.statistics
    );
}
