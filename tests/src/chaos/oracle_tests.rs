use std::net::Ipv4Addr;

use super::*;
use crate::chaos::{Fault, Lie, PILOT, Process};

const APRICOT: Vm = Vm { group: "apricot", index: 0 };
const BANANA_1: Vm = Vm { group: "banana", index: 1 };
const CHERRY_0: Vm = Vm { group: "cherry", index: 0 };

fn host(group: &str) -> Host {
    Target::ALL.into_iter().find(|target| target.group == group).unwrap().host()
}

fn vip(group: &str) -> Ipv4Addr {
    let place = Target::ALL.iter().position(|target| target.group == group).unwrap();
    Ipv4Addr::new(169, 254, 255, 10 + u8::try_from(place).unwrap())
}

/// A short request that takes 10 ms.
fn request(begun: u64, group: &str, answer: Answer) -> Request {
    let has_name = !matches!(answer, Answer::Failed { failure: Failure::Name, .. });
    let vip = has_name.then(|| vip(group));
    Request { begun, ended: begun + 10, to: host(group), kind: Kind::Short, vip, answer }
}

fn answered(begun: u64, group: &str, instance: &str) -> Request {
    request(begun, group, Answer::From(instance.to_owned()))
}

fn failed(begun: u64, group: &str, failure: Failure) -> Request {
    request(begun, group, Answer::Failed { failure, instance: None, error: String::new() })
}

fn lost_on_connection_to(instance: &str, begun: u64, group: &str) -> Request {
    let answer = Answer::Failed { failure: Failure::Broken, instance: Some(instance.to_owned()), error: String::new() };
    Request { kind: Kind::Long, ..request(begun, group, answer) }
}

fn happened(fault: Fault, begun: u64, over: u64) -> Happening {
    Happening { fault, begun, over: Some(over) }
}

/// What each of some requests from apricot/0 shows to be broken: the violations' names.
fn judged(requests: &[Request], happenings: &[Happening]) -> Vec<&'static str> {
    let mut oracle = Oracle::default();
    let violations = requests.iter().flat_map(|request| oracle.judge(APRICOT, request, happenings)).collect::<Vec<_>>();
    let name = |violation: &Violation| match violation {
        Violation::Stranger { .. } => "stranger",
        Violation::Lost { .. } => "lost",
        Violation::Early { .. } => "early",
        Violation::Moved { .. } => "moved",
        Violation::Shared { .. } => "shared",
        Violation::Unsettled { .. } | Violation::Rules { .. } | Violation::Memory { .. } => "no request's",
    };
    violations.iter().map(name).collect()
}

#[test]
fn answers_of_the_named_service_are_right_at_any_time() {
    let killed = happened(Fault::Kill { vm: BANANA_1, process: Process::Program }, 100, 200);
    assert!(judged(&[answered(0, "banana", "banana/0"), answered(150, "banana", "banana/1")], &[killed]).is_empty());
}

#[test]
fn an_answer_of_another_service_is_a_violation_whatever_happens() {
    let everything = [happened(Fault::Reboot { vm: APRICOT }, 0, 9000), happened(Fault::Deleted, 0, 9000)];
    assert_eq!(judged(&[answered(10, "cherry", "banana/0")], &everything), ["stranger"]);
    assert_eq!(judged(&[answered(10, "cherry", "cherry-87/0")], &everything), ["stranger"]);
    assert_eq!(judged(&[answered(10, TWIN, "cherry/0")], &everything), ["stranger"]);
}

#[test]
fn a_failure_without_a_fault_is_a_violation_of_each_kind() {
    for failure in [Failure::Name, Failure::Connection, Failure::Broken, Failure::Silence, Failure::Garbage] {
        assert_eq!(judged(&[failed(0, "banana", failure)], &[]), ["lost"], "{failure:?}");
    }
}

#[test]
fn faults_that_should_cost_nothing_explain_nothing() {
    let faults = [
        Fault::Panic { vm: APRICOT, actor: "dns_server" },
        Fault::Kill { vm: PILOT, process: Process::Pilot },
        Fault::Freeze { vm: APRICOT, process: Process::EnvoyParent },
        Fault::DirectorAway,
        Fault::PilotAway { pilot: PILOT, from: APRICOT },
        Fault::ReadOnlyState { vm: APRICOT },
        Fault::ClockJumps { vm: APRICOT, by: 86_400 },
        Fault::ClockJumps { vm: PILOT, by: -7200 },
        Fault::KillOnFullDisk { vm: PILOT, process: Process::Pilot },
    ];
    for fault in faults {
        assert_eq!(judged(&[failed(50, "banana", Failure::Broken)], &[happened(fault, 0, 100)]), ["lost"], "{fault}");
    }
}

#[test]
fn a_killed_envoy_explains_the_requests_of_its_own_vm_until_it_has_recovered() {
    let of = |vm| happened(Fault::Kill { vm, process: Process::Envoy }, 1000, 1100);
    let at = |begun| failed(begun, "banana", Failure::Connection);
    assert!(judged(&[at(1050), at(3000)], &[of(APRICOT)]).is_empty());
    assert_eq!(judged(&[at(100)], &[of(APRICOT)]), ["lost"], "before");
    assert_eq!(judged(&[at(60_000)], &[of(APRICOT)]), ["lost"], "long after");
    assert_eq!(judged(&[at(1050)], &[of(BANANA_1)]), ["lost"], "on another VM");
}

#[test]
fn a_killed_agent_explains_missing_names_and_no_lost_connection() {
    let (vm, process) = (APRICOT, Process::Agent);
    for fault in [Fault::Kill { vm, process }, Fault::KillOnFullDisk { vm, process }] {
        let killed = [happened(fault, 1000, 1100)];
        assert!(judged(&[failed(1050, "banana", Failure::Name)], &killed).is_empty());
        assert_eq!(judged(&[failed(1050, "banana", Failure::Broken)], &killed), ["lost"]);
    }
}

#[test]
fn a_killed_instance_explains_what_it_was_answering_and_its_connections() {
    let killed = [happened(Fault::Kill { vm: BANANA_1, process: Process::Program }, 10_000, 10_100)];
    assert!(judged(&[failed(9_995, "banana", Failure::Broken)], &killed).is_empty());
    assert!(judged(&[lost_on_connection_to("banana/1", 10_700, "banana")], &killed).is_empty());
    assert_eq!(judged(&[failed(12_000, "banana", Failure::Broken)], &killed), ["lost"], "another instance is there");
    assert_eq!(judged(&[lost_on_connection_to("banana/0", 12_000, "banana")], &killed), ["lost"]);
    assert_eq!(judged(&[failed(9_995, "cherry", Failure::Broken)], &killed), ["lost"], "another service");
}

#[test]
fn an_instance_that_stops_explains_its_open_connections_and_nothing_else() {
    let scaled = [happened(Fault::Scaled, 1000, 9000)];
    assert!(judged(&[lost_on_connection_to("banana/2", 2000, "banana")], &scaled).is_empty());
    assert_eq!(judged(&[lost_on_connection_to("banana/1", 2000, "banana")], &scaled), ["lost"]);
    assert_eq!(judged(&[failed(2000, "banana", Failure::Broken)], &scaled), ["lost"]);
    assert_eq!(judged(&[failed(2000, "banana", Failure::Connection)], &scaled), ["lost"]);
}

#[test]
fn a_killed_envoy_is_the_end_of_tunnels_to_its_instance() {
    let killed = [happened(Fault::Kill { vm: BANANA_1, process: Process::Envoy }, 10_000, 10_100)];
    let lost = failed(9_995, "banana", Failure::Broken);
    assert_eq!(judged(std::slice::from_ref(&lost), &killed), ["lost"], "it is on nobody's way");
    let mut oracle = Oracle::of(Scene { tunnels: true, ..Scene::default() });
    assert!(oracle.judge(APRICOT, &lost, &killed).is_empty());
    assert_eq!(oracle.judge(APRICOT, &failed(12_000, "banana", Failure::Broken), &killed).len(), 1);
}

#[test]
fn what_befalls_disk_table_or_pilot_explains_nothing() {
    let vm = APRICOT;
    let pilot = PILOT;
    for fault in [
        Fault::DiskFull { vm },
        Fault::TableDeleted,
        Fault::TableRolledBack,
        Fault::TableEdited,
        Fault::GroupAway { pilot, group: "apricot" },
        Fault::PilotAway { pilot, from: vm },
        Fault::Lying(Lie::OldEvents),
    ] {
        assert_eq!(judged(&[failed(2000, "banana", Failure::Name)], &[happened(fault, 1000, 9000)]), ["lost"]);
    }
    let taken = [happened(Fault::PortTaken { vm, port: 15_053 }, 1000, 9000)];
    assert!(judged(&[failed(2000, "banana", Failure::Name)], &taken).is_empty());
    assert_eq!(judged(&[failed(26_000, "banana", Failure::Name)], &taken), ["lost"]);
}

#[test]
fn a_service_that_is_not_there_may_be_unknown_but_its_name_comes_back_last() {
    let deleted = [happened(Fault::Deleted, 1000, 9000)];
    let unknown = failed(3000, "cherry", Failure::Name);
    let refused = |begun| failed(begun, "cherry", Failure::Connection);
    assert!(judged(&[refused(2000), unknown.clone(), answered(5000, "cherry", "cherry/0")], &deleted).is_empty());
    assert!(judged(&[unknown.clone(), refused(5000)], &deleted).is_empty(), "its programs may not run yet");
    assert_eq!(judged(&[refused(60_000)], &deleted), ["lost"], "long after");

    let mut oracle = Oracle::default();
    let mut judge = |from, request: Request| oracle.judge(from, &request, &deleted);
    assert!(judge(APRICOT, unknown).is_empty());
    assert!(judge(BANANA_1, answered(4900, "cherry", "cherry/0")).is_empty());
    assert!(judge(APRICOT, refused(4905)).is_empty(), "begun before anybody was answered");
    assert!(matches!(judge(APRICOT, refused(5000)).as_slice(), [Violation::Early { .. }]));
    assert!(judge(APRICOT, answered(5100, "cherry", "cherry/0")).is_empty());
    assert!(judge(APRICOT, refused(5200)).is_empty(), "it was known then");
}

#[test]
fn the_vms_of_a_deleted_deployment_ask_in_vain() {
    let deleted = [happened(Fault::Deleted, 1000, 9000)];
    let mut oracle = Oracle::default();
    assert!(oracle.judge(CHERRY_0, &failed(3000, "banana", Failure::Name), &deleted).is_empty());
    assert_eq!(oracle.judge(BANANA_1, &failed(3000, "banana", Failure::Name), &deleted).len(), 1);
}

#[test]
fn a_name_that_comes_back_while_something_else_fails_is_explained() {
    let killed = Fault::Kill { vm: APRICOT, process: Process::Envoy };
    let happenings = [happened(Fault::Deleted, 1000, 9000), happened(killed, 4000, 4100)];
    let requests = [failed(3000, "cherry", Failure::Name), failed(4050, "cherry", Failure::Connection)];
    assert!(judged(&requests, &happenings).is_empty());
}

#[test]
fn a_name_with_another_address_and_an_address_with_another_name_are_violations() {
    let moved = Request { vip: Some(Ipv4Addr::new(169, 254, 255, 99)), ..answered(20, "banana", "banana/0") };
    assert_eq!(judged(&[answered(0, "banana", "banana/0"), moved], &[]), ["moved"]);
    let shared = Request { vip: Some(vip("cherry")), ..answered(20, TWIN, "cherry-87/0") };
    assert_eq!(judged(&[answered(0, "cherry", "cherry/0"), shared], &[]), ["shared"]);
}

#[test]
fn the_twin_is_never_promised() {
    assert!(judged(&[failed(0, TWIN, Failure::Name), failed(0, TWIN, Failure::Connection)], &[]).is_empty());
}

#[test]
fn a_violation_says_who_asked_whom_and_when() {
    let violation = Violation::Lost { from: CHERRY_0, request: failed(70, "banana", Failure::Silence) };
    let said = violation.to_string();
    for part in
        ["cherry/0", "example-httpbin.banana.sample-deployment.boshy", "70 to 80 ms", "Silence", "169.254.255.11"]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
