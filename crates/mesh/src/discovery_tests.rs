use super::*;
use crate::{Address, Instance, PortName, Protocol};

fn job(name: &str) -> Job {
    Job {
        name: name.into(),
        ports: vec![Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp }],
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
    discover(&Inventory { deployments, ..Inventory::default() }, &Tld::default(), VipRange::default())
}

#[test]
fn a_service_has_the_instances_of_its_group() {
    let found = of(vec![deployment(
        "shop",
        vec![group("web", vec![job("front_end")])],
        vec![instance("web", 0, "10.0.0.1"), instance("db", 0, "10.0.0.9"), instance("compilation-1", 0, "10.0.0.8")],
    )]);
    assert_eq!(found.services[0].host.as_str(), "front-end.web.shop.boshy");
    assert_eq!(found.services[0].endpoints, [Endpoint { ip: "10.0.0.1".parse().unwrap(), az: Some("z1".into()) }]);
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
    assert!(found.services[0].endpoints.is_empty());
}

#[test]
fn a_collision_names_both_and_the_first_keeps_the_name() {
    let found = of(vec![
        deployment("a", vec![group("web", vec![job("my_api"), job("my-api")])], vec![]),
        deployment("b", vec![group("web", vec![job("api")])], vec![]),
    ]);
    assert_eq!(found.services.len(), 2);
    assert_eq!(found.services[1].origin.job, "my_api");
    let problem = found.problems[0].to_string();
    assert!(problem.contains(r#"job "my-api""#) && problem.contains(r#"job "my_api""#), "{problem}");
}

#[test]
fn an_instance_inside_the_virtual_range_is_refused_by_name() {
    let found = of(vec![deployment(
        "shop",
        vec![group("web", vec![job("api")])],
        vec![instance("web", 0, "169.254.255.7"), instance("web", 1, "10.0.0.1")],
    )]);
    assert_eq!(found.services[0].endpoints.len(), 1);
    assert!(found.problems[0].reason.contains("web/0"), "{:?}", found.problems);
}

#[test]
fn a_name_that_dns_refuses_costs_only_its_service() {
    let found = of(vec![deployment("shop", vec![group("web", vec![job("+"), job("api")])], vec![])]);
    assert_eq!((found.services.len(), found.problems.len()), (1, 1));
}
