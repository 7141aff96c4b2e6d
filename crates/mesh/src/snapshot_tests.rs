use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::{
    Deployment, Instance, InstanceGroup, Job, LeaseRules, Moment, Port, PortName, Protocol, Tld, VipRange, VipShare,
    discover,
};

fn inventory(instances: u8) -> Inventory {
    let port = Port { name: PortName::new("http").unwrap(), number: 9002, protocol: Protocol::Tcp };
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
    let range = VipRange::default();
    let found = discover(&inventory(instances), &Tld::default(), range);
    let rules = LeaseRules { range, quarantine: Duration::ZERO, share: VipShare::default() };
    let leases = Leases::default().reconcile(&found.claims(), &rules, Moment(0), &BTreeSet::new()).leases;
    SnapshotContent::assemble(&inventory(instances), &found, &leases, previous)
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
}

#[test]
fn an_unchanged_service_is_shared_with_the_snapshot_before() {
    let before = content(1, &SnapshotContent::default());
    let after = content(2, &before);
    assert!(Arc::ptr_eq(&before.services[0], &after.services[0]));
    assert!(!Arc::ptr_eq(&before.services[1], &after.services[1]));
}

#[test]
fn a_node_finds_what_it_serves_and_its_zone() {
    let content = content(2, &SnapshotContent::default());
    let ip = IpAddr::from([10, 0, 0, 1]);
    let here: Vec<_> = content.services_on(ip).map(|service| service.host().as_str()).collect();
    assert_eq!(here, ["httpbin.banana.d.boshy"]);
    assert_eq!(content.zones[&ip], Some("z1".into()));
}
