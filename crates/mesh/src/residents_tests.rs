use super::*;
use crate::{Address, Job, Port, PortName, Protocol};

fn group(name: &str) -> InstanceGroup {
    let port = Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp, ingress: None };
    InstanceGroup {
        name: name.into(),
        jobs: vec![Job { name: "api".into(), ports: vec![port], runtime_config: None }],
        ..InstanceGroup::default()
    }
}

fn instance(group: &str, ip: &str) -> Instance {
    Instance {
        group: group.into(),
        index: Some(0),
        id: format!("{group}-{ip}"),
        ips: vec![Address::parse(ip).unwrap()],
        expects_vm: true,
        ..Instance::default()
    }
}

fn deployment(name: &str, groups: Vec<InstanceGroup>, instances: Vec<Instance>) -> Deployment {
    Deployment { name: name.into(), groups, instances, ..Deployment::default() }
}

/// The addresses of each service, and the reported problems.
fn of(deployments: Vec<Deployment>, wanted: &[(&str, &str)]) -> (Vec<Vec<String>>, Vec<String>) {
    let inventory = Inventory { deployments, ..Inventory::default() };
    let residents = Residents::of(&inventory, VipRange::default(), &Workloads::default());
    let ips = |(deployment, group): &(&str, &str)| {
        residents.endpoints(deployment, group).iter().map(|endpoint| endpoint.ip.to_string()).collect()
    };
    (wanted.iter().map(ips).collect(), residents.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_newer_claim_to_an_address_wins_across_deployments_and_the_older_is_named() {
    let made = |at: Option<u64>, since: u64, name: &str| {
        let instance = Instance { vm_created_at: at, since, ..instance("web", "10.0.0.5") };
        deployment(name, vec![group("web")], vec![instance])
    };
    let services = [("a", "web"), ("b", "web")];
    for (what, one, other) in [
        ("the VM was made later", made(Some(100), 9, "a"), made(Some(200), 1, "b")),
        ("it was seen later", made(None, 1, "a"), made(None, 2, "b")),
        ("made at the same time, seen later", made(Some(100), 1, "a"), made(Some(100), 2, "b")),
        ("only one says when it was made", made(Some(900), 1, "a"), made(None, 2, "b")),
    ] {
        let (found, problems) = of(vec![one, other], &services);
        assert_eq!(found, [vec![], vec!["10.0.0.5".to_owned()]], "{what}");
        let [problem] = &problems[..] else { panic!("{what}: {problems:?}") };
        assert!(
            problem.contains(r#"deployment "a", instance group "web": instance web/0 has the address 10.0.0.5"#),
            "{problem}"
        );
        assert!(problem.contains(r#"instance web/0 of deployment "b""#), "{problem}");
    }
    let (found, _) = of(vec![made(Some(200), 1, "a"), made(Some(100), 9, "b")], &services);
    assert_eq!(found, [vec!["10.0.0.5".to_owned()], vec![]], "the first deployment may be the newer one");
}

#[test]
fn two_instances_of_one_deployment_never_share_an_address() {
    let old = Instance { id: "old".into(), since: 1, ..instance("web", "10.0.0.5") };
    let new = Instance { id: "new".into(), since: 2, ..instance("db", "10.0.0.5") };
    let (found, problems) =
        of(vec![deployment("d", vec![group("web"), group("db")], vec![old, new])], &[("d", "web"), ("d", "db")]);
    assert_eq!((found, problems.len()), (vec![vec![], vec!["10.0.0.5".to_owned()]], 1));
}

#[test]
fn an_instance_that_exposes_nothing_claims_its_addresses_as_well() {
    let quiet = InstanceGroup { name: "quiet".into(), ..InstanceGroup::default() };
    let taker = Instance {
        since: 5,
        ips: ["10.0.0.9", "10.0.0.5"].map(|ip| Address::parse(ip).unwrap()).into(),
        ..instance("quiet", "10.0.0.9")
    };
    let (found, problems) = of(
        vec![
            deployment("a", vec![group("web")], vec![instance("web", "10.0.0.5"), instance("web", "10.0.0.6")]),
            deployment("b", vec![quiet], vec![taker]),
        ],
        &[("a", "web")],
    );
    assert_eq!((found, problems.len()), (vec![vec!["10.0.0.6".to_owned()]], 1));
}

#[test]
fn an_address_that_no_instance_can_have_is_left_out_and_named() {
    let bad = ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.0.2", "169.254.169.254", "::1"];
    let instances = bad.iter().chain(&["10.0.0.1"]).map(|ip| instance("web", ip)).collect();
    let (found, problems) = of(vec![deployment("d", vec![group("web")], instances)], &[("d", "web")]);
    assert_eq!(found, [["10.0.0.1"]]);
    assert_eq!(problems.len(), bad.len(), "{problems:?}");
    assert!(bad.iter().zip(&problems).all(|(ip, problem)| problem.contains(ip)), "{problems:?}");
}

#[test]
fn an_instance_that_was_renamed_stays_where_it_was_until_the_manifest_has_its_new_group() {
    let renamed = Instance { formerly: Some("web".into()), ..instance("frontend", "10.0.0.5") };
    let before = deployment("d", vec![group("web")], vec![renamed.clone()]);
    assert_eq!(of(vec![before], &[("d", "web")]).0, [["10.0.0.5"]]);
    let after = deployment("d", vec![group("frontend")], vec![renamed]);
    assert_eq!(of(vec![after], &[("d", "frontend")]).0, [["10.0.0.5"]]);
}

#[test]
fn an_instance_of_a_group_that_was_migrated_belongs_to_the_one_that_says_so() {
    let migrated = InstanceGroup { migrated_from: vec!["web".into()], ..group("frontend") };
    let deployment = deployment("d", vec![migrated], vec![instance("web", "10.0.0.5"), instance("other", "10.0.0.6")]);
    assert_eq!(of(vec![deployment], &[("d", "frontend")]).0, [["10.0.0.5"]]);
}
