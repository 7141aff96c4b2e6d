use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::{
    Action, Address, AppliedConfig, Authorization, AuthorizationPolicy, Deployment, DocumentKind, DocumentName,
    Documents, Endpoint, GroupNetwork, Hostname, InboundPort, Ingress, Instance, InstanceGroup, Inventory, Job,
    LeaseRules, Moment, MtlsMode, MtlsRules, NetworkAddress, Origin, Policies, PolicyConfig, Port, PortName, Position,
    Protocol, Scope, Service, Stage, Stages, Standing, Tld, TrustDomain, Tunnel, VipRange, VipShare, WorkloadPlan,
    discover, workloads::ByAddress,
};

fn inventory(instances: u8) -> Inventory {
    let port = Port { name: PortName::new("http").unwrap(), number: 9002, protocol: Protocol::Tcp, ingress: None };
    let group = |name: &str| InstanceGroup {
        name: name.into(),
        jobs: vec![Job { name: "httpbin".into(), ports: vec![port.clone()], runtime_config: None }],
        ..InstanceGroup::default()
    };
    let instance = |index: u8| Instance {
        group: "banana".into(),
        index: Some(index.into()),
        id: index.to_string(),
        az: Some(format!("z{index}")),
        ips: vec![IpAddr::from([10, 0, 0, index]).into()],
        expects_vm: true,
        ..Instance::default()
    };
    let instances = (0..instances).map(instance).collect();
    Inventory {
        deployments: vec![Deployment {
            name: "d".into(),
            groups: vec![group("apricot"), group("banana")],
            instances,
            ..Deployment::default()
        }],
        ..Inventory::default()
    }
}

fn content(instances: u8, previous: &SnapshotContent) -> SnapshotContent {
    of(&inventory(instances), previous)
}

fn of(inventory: &Inventory, previous: &SnapshotContent) -> SnapshotContent {
    with_rules(inventory, &MeshRules::default(), previous)
}

fn with_rules(inventory: &Inventory, mesh: &MeshRules, previous: &SnapshotContent) -> SnapshotContent {
    let range = VipRange::default();
    let found = discover(inventory, &Tld::default(), range, &previous.workloads);
    let rules = LeaseRules { range, quarantine: Duration::ZERO, share: VipShare::default() };
    let leases = Leases::default().reconcile(&found.claims(), &rules, Moment(0), &BTreeSet::new()).leases;
    SnapshotContent::assemble(&found, &leases, mesh, previous)
}

fn tunnel(port: u16) -> Tunnel {
    Tunnel { domain: TrustDomain::default(), ports: [port].into(), strict: [].into() }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

#[test]
fn equal_content_makes_no_new_snapshot_but_the_first_one_counts_even_when_empty() {
    let start = MeshSnapshot::default();
    let first = start.next(SnapshotContent::default()).unwrap();
    assert_eq!(first.generation, 1);
    assert_eq!(first.next(SnapshotContent::default()), None);
    let second = first.next(content(2, &first.content)).unwrap();
    assert_eq!(second.generation, 2);
    assert_ne!(first.hash, second.hash);
    assert_eq!(second.next(content(2, &second.content)), None);
}

#[test]
fn what_is_unchanged_is_shared_with_the_snapshot_before() {
    let before = content(2, &SnapshotContent::default());
    let after = content(3, &before);
    assert!(Shared::ptr_eq(&before.services[0], &after.services[0]));
    assert!(!Shared::ptr_eq(&before.services[1], &after.services[1]));
    for last in [0, 1] {
        let (old, new) = (before.workloads.at(ip(last)).unwrap(), after.workloads.at(ip(last)).unwrap());
        assert!(Shared::ptr_eq(old, new));
        let endpoint = &after.services[1].service.endpoints[usize::from(last)];
        assert!(Shared::ptr_eq(&endpoint.workload, &old.workload), "also by a service that has changed");
    }
}

#[test]
fn two_pilots_with_equal_content_have_one_hash_however_they_came_to_it() {
    let start = MeshSnapshot::default();
    let at_once = start.next(content(3, &start.content)).unwrap();
    let mut by_steps = start.next(content(1, &start.content)).unwrap();
    for instances in [2, 3] {
        by_steps = by_steps.next(content(instances, &by_steps.content)).unwrap();
    }
    assert_eq!(by_steps.generation, 3);
    assert_eq!((by_steps.hash, by_steps.content), (at_once.hash, at_once.content));
}

#[test]
fn an_instance_that_is_about_to_stop_is_kept_from_callers_alone() {
    let before = content(2, &SnapshotContent::default());
    let rules = MeshRules { stopping: ["0".to_owned()].into(), ..MeshRules::default() };
    let after = with_rules(&inventory(2), &rules, &before);
    let called = |content: &SnapshotContent| {
        content.services[1].endpoints().map(|endpoint| endpoint.workload.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!((called(&before), called(&after)), (vec!["0".into(), "1".into()], vec!["1".into()]));
    assert_eq!(before.services[1].service, after.services[1].service);
    assert_eq!(before.workloads, after.workloads, "it still serves those who are connected");
    let taken_back = content(2, &after);
    assert_eq!(taken_back, before);
}

#[test]
fn a_node_finds_its_workload_with_what_it_serves_and_its_zone() {
    let content = content(2, &SnapshotContent::default());
    let plan = content.workloads.at(ip(1)).unwrap();
    assert_eq!(
        plan.inbound,
        [InboundPort {
            at: (ip(1), 9002).into(),
            protocol: Protocol::Tcp,
            mode: MtlsMode::Disable,
            authorization: None,
            plaintext: None,
            ingress: None
        }]
    );
    let Workload { id, deployment, group, addresses, agent_id, az, jobs } = &*plan.workload;
    assert_eq!((&**id, &**deployment, &**group, az.as_deref()), ("1", "d", "banana", Some("z1")));
    assert_eq!(addresses[..], [NetworkAddress { address: ip(1).into(), network: None }]);
    assert_eq!((agent_id, &jobs[..]), (&None, &["httpbin".to_owned()][..]));
    assert!(content.workloads.at(ip(9)).is_none());
}

#[test]
fn a_vm_that_exposes_nothing_is_a_workload_at_each_of_its_addresses_in_its_network() {
    let mut inventory = inventory(1);
    let network = |name: &str, range: &str| GroupNetwork {
        name: name.into(),
        static_ips: vec![(range.parse().unwrap(), range.parse().unwrap())],
        ..GroupNetwork::default()
    };
    let deployment = &mut inventory.deployments[0];
    deployment.groups[1].jobs.clear();
    deployment.groups[1].networks = vec![network("one", "10.0.0.0"), network("two", "10.9.0.7")];
    deployment.instances[0].ips.extend(["10.9.0.7", "127.0.0.1", "10.9.9.9"].map(|ip| Address::parse(ip).unwrap()));
    let content = of(&inventory, &SnapshotContent::default());
    let plan = content.workloads.at("10.9.0.7".parse().unwrap()).unwrap();
    assert!(plan.inbound.is_empty());
    let addresses = plan.workload.addresses.iter();
    let addresses: Vec<_> = addresses.map(|own| (own.address.to_string(), own.network.as_deref())).collect();
    let wanted = [("10.0.0.0", Some("one")), ("10.9.0.7", Some("two")), ("10.9.9.9", None)];
    assert_eq!(addresses, wanted.map(|(address, network)| (address.to_owned(), network)));
    assert_eq!(content.workloads.iter().len(), 1);
}

#[test]
fn an_address_leads_to_the_workload_that_claimed_it_last_and_to_no_other() {
    let mut inventory = inventory(2);
    let instances = &mut inventory.deployments[0].instances;
    instances[0].ips.push(ip(1).into());
    instances[1].since = 5;
    let content = of(&inventory, &SnapshotContent::default());
    assert_eq!(content.workloads.at(ip(1)).unwrap().workload.id, "1");
    assert_eq!(content.workloads.at(ip(0)).unwrap().workload.addresses.len(), 1);
}

/// What the hash of a snapshot is when a plan is changed in one way.
fn hash_with(change: impl FnOnce(&mut ServicePlan, &mut WorkloadPlan)) -> String {
    let sample = content(2, &SnapshotContent::default());
    let mut service = ServicePlan::clone(&sample.services[1]);
    let mut workload = WorkloadPlan::clone(sample.workloads.at(ip(1)).unwrap());
    change(&mut service, &mut workload);
    let workloads = Workloads::new(vec![Shared::new(workload)], ByAddress::default());
    ContentHash::of(&SnapshotContent { services: vec![Shared::new(service)], workloads, table: None }).to_string()
}

fn hash_with_workload(change: impl FnOnce(&mut Workload)) -> String {
    hash_with(|_, plan| {
        let mut workload = Workload::clone(&plan.workload);
        change(&mut workload);
        plan.workload = Shared::new(workload);
    })
}

/// The patterns name every field, so that a new one fails to compile until it is here.
#[test]
fn each_field_of_a_service_and_of_a_workload_matters_to_the_hash() {
    let other = Hostname::of_service("other", "banana", "d", &Tld::default()).unwrap();
    let mut hashes = vec![
        hash_with(|_, _| {}),
        hash_with(|ServicePlan { vip, service: _, tunnel: _, withdrawn: _ }, _| *vip = Ipv4Addr::LOCALHOST),
        hash_with(|ServicePlan { service: Service { host, origin: _, ports: _, endpoints: _ }, .. }, _| *host = other),
        hash_with(|plan, _| {
            let Origin { deployment, group: _, job: _ } = &mut plan.service.origin;
            deployment.push('x');
        }),
        hash_with(|plan, _| plan.service.origin.group.push('x')),
        hash_with(|plan, _| plan.withdrawn = ["0".to_owned()].into()),
        hash_with(|plan, _| plan.tunnel = Some(tunnel(9002))),
        hash_with(|plan, _| plan.tunnel = Some(tunnel(9003))),
        hash_with(|plan, _| plan.tunnel = Some(Tunnel { strict: [9002].into(), ..tunnel(9002) })),
        hash_with(|plan, _| plan.service.origin.job.push('x')),
        hash_with(|plan, _| {
            let Port { name, number: _, protocol: _, ingress: _ } = &mut plan.service.ports[0];
            *name = PortName::new("x").unwrap();
        }),
        hash_with(|plan, _| plan.service.ports[0].number += 1),
        hash_with(|plan, _| plan.service.ports[0].ingress = Some(Ingress::default())),
        hash_with(|plan, _| drop(plan.service.ports.pop())),
        hash_with(|plan, _| {
            let Endpoint { ip: address, workload: _ } = &mut plan.service.endpoints[0];
            *address = ip(9);
        }),
        hash_with(|plan, _| plan.service.endpoints[0].workload = Shared::new(Workload::default())),
        hash_with(|plan, _| drop(plan.service.endpoints.pop())),
        hash_with(|_, WorkloadPlan { inbound, workload: _ }| inbound.clear()),
        hash_with(|_, plan| {
            let InboundPort { at, protocol: _, mode: _, authorization: _, plaintext: _, ingress: _ } =
                &mut plan.inbound[0];
            at.set_port(1);
        }),
        hash_with(|_, plan| plan.inbound[0].mode = MtlsMode::Strict),
        hash_with(|_, plan| plan.inbound[0].ingress = Some(Ingress::default())),
        hash_with(|_, plan| plan.inbound[0].authorization = Some(Shared::new(Authorization::default()))),
        hash_with(|_, plan| plan.inbound[0].plaintext = Some(Shared::new(Authorization::default()))),
        hash_with_workload(|Workload { id, deployment: _, group: _, addresses: _, agent_id: _, az: _, jobs: _ }| {
            id.push('x');
        }),
        hash_with_workload(|workload| workload.deployment.push('x')),
        hash_with_workload(|workload| workload.group.push('x')),
        hash_with_workload(|workload| drop(workload.addresses.pop())),
        hash_with_workload(|workload| {
            let NetworkAddress { address, network: _ } = &mut workload.addresses[0];
            *address = ip(9).into();
        }),
        hash_with_workload(|workload| workload.addresses[0].network = Some("x".into())),
        hash_with_workload(|workload| workload.agent_id = Some("x".into())),
        hash_with_workload(|workload| workload.az = None),
        hash_with_workload(|workload| workload.jobs.push("x".into())),
    ];
    let all = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), all, "{hashes:?}");
}

fn encrypting(mode: MtlsMode) -> MeshRules {
    MeshRules { mtls: Some(MtlsRules::new(TrustDomain::default(), mode)), ..MeshRules::default() }
}

/// The stage after `known` of the port of group banana, when these instances are able.
fn next(instances: u8, mode: MtlsMode, able: &[&str], known: Option<Stage>) -> Stage {
    let host = Hostname::of_service("httpbin", "banana", "d", &Tld::default()).unwrap();
    let found = discover(&inventory(instances), &Tld::default(), VipRange::default(), &Workloads::default());
    let known: Stages = known.map(|stage| (host.clone(), 9002, stage)).into_iter().collect();
    let able = able.iter().map(|id| (*id).to_owned()).collect();
    let standing = |service: &Service| Standing { able: service.is_able(&able), settled: true, late: false };
    let next = known.next(found.services.values().flatten(), |_, _| mode, |service, _| standing(service), |_| false);
    next.get(&host, 9002).unwrap()
}

#[test]
fn a_permissive_service_is_tunnelled_once_all_its_instances_are_able_and_stays_so() {
    use MtlsMode::{Disable, Permissive, Strict};
    use Stage::{Closed, Plain, Prepared, Tunnelled};
    for (mode, first) in [(Disable, Plain), (Permissive, Prepared), (Strict, Closed)] {
        assert_eq!(next(2, mode, &["0", "1"], None), first, "{mode}");
    }
    assert_eq!(next(2, Permissive, &["0"], Some(Prepared)), Prepared);
    assert_eq!(next(0, Permissive, &["0"], Some(Prepared)), Prepared, "nobody is there to be able");
    assert_eq!(next(2, Permissive, &["0", "1"], Some(Prepared)), Tunnelled);
    assert_eq!(next(2, Permissive, &[], Some(Tunnelled)), Tunnelled);
    assert_eq!(next(2, Disable, &[], Some(Tunnelled)), Prepared, "the operator takes it back");
}

#[test]
fn a_service_that_is_away_keeps_its_stages_as_long_as_its_address() {
    let host = Hostname::of_service("gone", "banana", "d", &Tld::default()).unwrap();
    let known: Stages = [(host, 1, Stage::Closed)].into_iter().collect();
    let standing = Standing { able: true, settled: true, late: false };
    let next = |kept| known.next([], |_, _| MtlsMode::Disable, |_, _| standing, |_| kept);
    assert_eq!((next(true), next(false)), (known.clone(), Stages::default()));
}

#[test]
fn the_stage_says_what_instances_accept_and_what_callers_use() {
    for (stage, accepted, tunnelled, closed) in [
        (Stage::Plain, MtlsMode::Disable, false, false),
        (Stage::Prepared, MtlsMode::Permissive, false, false),
        (Stage::Tunnelled, MtlsMode::Permissive, true, false),
        (Stage::Closed, MtlsMode::Strict, true, true),
    ] {
        let host = Hostname::of_service("httpbin", "banana", "d", &Tld::default()).unwrap();
        let stages = Arc::new([(host.clone(), 9002, stage)].into_iter().collect());
        // What is wanted does not matter.
        let mtls = MtlsRules { stages, ..MtlsRules::new(TrustDomain::default(), MtlsMode::Strict) };
        let rules = MeshRules { mtls: Some(mtls), ..MeshRules::default() };
        let content = with_rules(&inventory(1), &rules, &SnapshotContent::default());
        assert_eq!(content.workloads.at(ip(0)).unwrap().inbound[0].mode, accepted);
        let strict = if closed { [9002].into() } else { BTreeSet::new() };
        let wanted = tunnelled.then(|| Tunnel { strict, ..tunnel(9002) });
        assert_eq!(content.service(host.as_str()).unwrap().tunnel, wanted, "{stage:?}");
    }
}

#[test]
fn a_port_accepts_what_the_mode_says_unless_its_group_cannot_have_an_identity() {
    let mode = |group: &str| {
        let mut inventory = inventory(1);
        inventory.deployments[0].groups[1].name = group.into();
        inventory.deployments[0].instances[0].group = group.into();
        let content = with_rules(&inventory, &encrypting(MtlsMode::Strict), &SnapshotContent::default());
        content.workloads.at(ip(0)).unwrap().inbound[0].mode
    };
    assert_eq!(mode("banana"), MtlsMode::Strict);
    assert_eq!(mode("ban ana"), MtlsMode::Disable);
}

#[test]
fn a_policy_changes_the_plans_of_the_workloads_in_its_scope_and_no_other() {
    let rules = |group: &str| {
        let document = AuthorizationPolicy {
            name: DocumentName {
                config: "c".into(),
                position: Position::default(),
                kind: DocumentKind::AuthorizationPolicy,
                name: "n".into(),
            },
            scope: Scope { deployment: Some("d".into()), group: Some(group.into()), job: None },
            action: Action::Allow,
            dry_run: false,
            rules: Vec::new(),
        };
        let documents = Documents { authorizations: vec![document], ..Documents::default() };
        let applied = Some(AppliedConfig { version: "1".into(), documents });
        let config = PolicyConfig { name: "c".into(), latest: "1".into(), applied, problems: Vec::new() };
        MeshRules { policies: Policies::of(&[config]), ..encrypting(MtlsMode::Strict) }
    };
    let before = with_rules(&inventory(2), &encrypting(MtlsMode::Strict), &SnapshotContent::default());
    let elsewhere = with_rules(&inventory(2), &rules("apricot"), &before);
    let here = with_rules(&inventory(2), &rules("banana"), &before);
    let plan = |content: &SnapshotContent, index: u8| content.workloads.at(ip(index)).unwrap().clone();
    for index in 0..2 {
        assert!(Shared::ptr_eq(&plan(&before, index), &plan(&elsewhere, index)));
        let authorization = plan(&here, index).inbound[0].authorization.clone().unwrap();
        assert_eq!(authorization.enforced.allow.len(), 1);
    }
    let services = |content: &SnapshotContent| content.services.clone();
    assert!(
        services(&before).iter().zip(&services(&here)).all(|(one, other)| Shared::ptr_eq(one, other)),
        "callers are told nothing of it"
    );
}
