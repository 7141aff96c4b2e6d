use std::collections::BTreeSet;

use super::*;
use crate::{Address, Instance, LeaseRules, Moment, Port, PortName, Protocol, VipShare};

fn job(name: &str) -> Job {
    Job {
        name: name.into(),
        ports: vec![Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp, ingress: None }],
        runtime_config: None,
    }
}

fn group(name: &str, jobs: Vec<Job>) -> InstanceGroup {
    InstanceGroup { name: name.into(), jobs, ..InstanceGroup::default() }
}

fn instance(group: &str, index: u32, ip: &str) -> Instance {
    Instance {
        group: group.into(),
        index: Some(index),
        id: format!("{group}-{index}"),
        az: Some("z1".into()),
        ips: vec![Address::parse(ip).unwrap()],
        expects_vm: true,
        ..Instance::default()
    }
}

fn deployment(name: &str, groups: Vec<InstanceGroup>, instances: Vec<Instance>) -> Deployment {
    Deployment { name: name.into(), groups, instances, ..Deployment::default() }
}

fn of(deployments: Vec<Deployment>) -> Discovery {
    discover(
        &Inventory { deployments, ..Inventory::default() },
        &Tld::default(),
        VipRange::default(),
        &Workloads::default(),
    )
}

/// The only service; fails when there are more.
fn only(found: &Discovery) -> &Service {
    let all: Vec<_> = found.services.values().flatten().collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

fn leased(found: &Discovery, before: &Leases) -> Leases {
    let rules =
        LeaseRules { range: VipRange::default(), quarantine: std::time::Duration::MAX, share: VipShare::default() };
    before.reconcile(&found.claims(), &rules, Moment(0), &BTreeSet::new()).leases
}

fn told(found: &Discovery, leases: &Leases) -> Vec<String> {
    found.collisions(leases).iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_has_the_instances_of_its_group() {
    let found = of(vec![deployment(
        "shop",
        vec![group("web", vec![job("front_end")])],
        vec![instance("web", 0, "10.0.0.1"), instance("db", 0, "10.0.0.9"), instance("compilation-1", 0, "10.0.0.8")],
    )]);
    assert_eq!(only(&found).host.as_str(), "front-end.web.shop.boshy");
    let [endpoint] = &only(&found).endpoints[..] else { panic!("{:?}", found.services) };
    assert_eq!((endpoint.ip.to_string(), endpoint.workload.az.as_deref()), ("10.0.0.1".into(), Some("z1")));
    assert!(found.problems.is_empty());
}

#[test]
fn a_service_without_instances_stays_a_service() {
    let found = of(vec![deployment("shop", vec![group("web", vec![job("api")])], vec![])]);
    assert_eq!(found.services.len(), 1);
}

#[test]
fn errands_and_detached_instances_are_no_endpoints() {
    let errand = InstanceGroup { lifecycle: Lifecycle::Errand, ..group("smoke", vec![job("tests")]) };
    let detached = Instance { expects_vm: false, ips: vec![], ..instance("web", 1, "10.0.0.2") };
    let found = of(vec![deployment(
        "shop",
        vec![errand, group("web", vec![job("api")])],
        vec![instance("smoke", 0, "10.0.0.5"), detached],
    )]);
    assert_eq!(found.services.len(), 1);
    assert!(only(&found).endpoints.is_empty());
}

#[test]
fn within_one_deployment_the_first_has_the_name_and_the_others_are_told() {
    let found = of(vec![
        deployment(
            "a",
            vec![group("web", vec![job("my_api"), job("my-api")]), group("We.b", vec![job("myapi")])],
            vec![],
        ),
        deployment("b", vec![group("web", vec![job("api")])], vec![]),
    ]);
    let leases = leased(&found, &Leases::default());
    assert_eq!(leases.held(), 3);
    let problem = r#"deployment "a", instance group "web", job "my-api": has the mesh name my-api.web.a.boshy of deployment "a", instance group "web", job "my_api", which keeps it; rename one of them"#;
    assert_eq!(told(&found, &leases), [problem]);
}

#[test]
fn the_newcomer_of_a_collision_is_the_one_that_is_told_whatever_its_spelling() {
    for (had, newcomer) in
        [("shop_a", "shop-a"), ("sample-deployment", "Sample-Deployment"), ("a_b", "a-b"), ("ab", "a.b"), ("b", "B")]
    {
        let of_one = |name| deployment(name, vec![group("web", vec![job("api")])], vec![]);
        let leases = leased(&of(vec![of_one(had)]), &Leases::default());
        for both in [[newcomer, had], [had, newcomer]] {
            let found = of(both.map(of_one).to_vec());
            let after = leased(&found, &leases);
            assert_eq!(after, leases);
            let problems = told(&found, &after);
            assert_eq!(problems.len(), 1);
            assert!(problems[0].starts_with(&format!("deployment {newcomer:?}")), "{problems:?}");
        }
    }
}

#[test]
fn a_job_that_is_written_twice_is_one_service() {
    let found = of(vec![deployment("shop", vec![group("web", vec![job("api"), job("api")])], vec![])]);
    assert_eq!(only(&found).host.as_str(), "api.web.shop.boshy");
    assert_eq!(found.problems.len(), 1);
    assert!(found.collisions(&Leases::default()).is_empty());
}

#[test]
fn an_instance_inside_the_virtual_range_is_refused_by_name() {
    let found = of(vec![deployment(
        "shop",
        vec![group("web", vec![job("api")])],
        vec![instance("web", 0, "169.254.255.7"), instance("web", 1, "10.0.0.1")],
    )]);
    assert_eq!(only(&found).endpoints.len(), 1);
    assert!(found.problems[0].reason.contains("web/0"), "{:?}", found.problems);
}

#[test]
fn a_name_that_dns_refuses_costs_only_its_service() {
    let found = of(vec![deployment("shop", vec![group("web", vec![job("+"), job("api")])], vec![])]);
    assert_eq!((found.services.len(), found.problems.len()), (1, 1));
}

#[test]
fn a_group_that_was_migrated_to_another_spelling_keeps_its_address() {
    let before = of(vec![deployment("shop", vec![group("web_1", vec![job("api")])], vec![])]);
    let leases = leased(&before, &Leases::default());
    let renamed = InstanceGroup { migrated_from: vec!["web_1".into()], ..group("web-1", vec![job("api")]) };
    let after = leased(&of(vec![deployment("shop", vec![renamed], vec![])]), &leases);
    let vips = |leases: &Leases| leases.iter().map(|(vip, _)| vip).collect::<Vec<_>>();
    assert_eq!(vips(&after), vips(&leases));
    let other = leased(&of(vec![deployment("shop", vec![group("web-1", vec![job("api")])], vec![])]), &leases);
    assert_ne!(other.vip(&only(&before).host), leases.vip(&only(&before).host), "without a word it is another service");
}
