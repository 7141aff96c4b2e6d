use super::*;
use crate::LAB_CLOUD_CONFIG;

const NOW: Timestamp = Timestamp(1_795_446_868);

fn world() -> World {
    World::new(LAB_CLOUD_CONFIG, true, 1).unwrap()
}

fn manifest(name: &str, instances: u32, more: &str) -> String {
    format!(
        "
name: {name}
releases: [{{name: sample, version: '1'}}]
stemcells: [{{alias: default, os: ubuntu-noble, version: '1.1'}}]
instance_groups:
- name: web
  azs: [z1, z2]
  instances: {instances}
  vm_type: small
  stemcell: default
  networks: [{{name: default}}]
  jobs:
  - name: httpbin
    release: sample
    expose_ports: [{{name: http, number: 9002}}]
{more}"
    )
}

fn instances(world: &World, deployment: &str) -> Vec<Instance> {
    let view = world.view();
    view.deployments.into_iter().find(|found| found.name == deployment).unwrap().instances
}

fn shown(world: &World, deployment: &str) -> Vec<String> {
    let line = |instance: &Instance| {
        let ips: Vec<_> = instance.ips().iter().map(ToString::to_string).collect();
        format!("{}/{} {} {}", instance.group, instance.index, instance.az.as_deref().unwrap_or("-"), ips.join(","))
    };
    instances(world, deployment).iter().map(line).collect()
}

fn events(world: &World) -> Vec<String> {
    let line = |event: &boshy_director::wire::Event| {
        let end = if event.parent_id.is_some() { " end" } else { "" };
        let failed = if event.error.is_some() { " failed" } else { "" };
        format!("{} {}{end}{failed}", event.action, event.object_type)
    };
    world.journal.events.iter().map(line).collect()
}

#[test]
fn instances_get_the_first_free_address_and_zones_in_turn() {
    let mut world = world();
    world.deploy(&manifest("a", 3, ""), "admin", NOW).unwrap();
    assert_eq!(shown(&world, "a"), ["web/0 z1 10.244.0.126", "web/1 z2 10.244.0.127", "web/2 z1 10.244.0.128"]);
}

#[test]
fn scaling_keeps_who_stays_and_removes_the_highest_indexes() {
    let mut world = world();
    world.deploy(&manifest("a", 2, ""), "admin", NOW).unwrap();
    world.deploy(&manifest("b", 1, ""), "admin", NOW).unwrap();
    let before = instances(&world, "a");
    world.deploy(&manifest("a", 4, ""), "admin", NOW).unwrap();
    assert_eq!(instances(&world, "a")[..2], before);
    assert_eq!(shown(&world, "a")[2..], ["web/2 z1 10.244.0.129", "web/3 z2 10.244.0.130"]);
    world.deploy(&manifest("a", 1, ""), "admin", NOW).unwrap();
    assert_eq!(instances(&world, "a"), before[..1]);
    world.deploy(&manifest("a", 0, ""), "admin", NOW).unwrap();
    assert_eq!(shown(&world, "a"), [""; 0]);
    world.deploy(&manifest("a", 1, ""), "admin", NOW).unwrap();
    assert_eq!(shown(&world, "a"), ["web/0 z1 10.244.0.126"], "a freed address is given again by a later deploy");
}

#[test]
fn static_addresses_are_honoured_and_checked() {
    let with = |ips: &str, instances: u32| {
        manifest("a", instances, "").replace("{name: default}", &format!("{{name: default, static_ips: {ips}}}"))
    };
    let mut world = world();
    world.deploy(&with("[10.244.3.40, 10.244.3.50-10.244.3.51]", 3), "admin", NOW).unwrap();
    let expected = ["web/0 z1 10.244.3.40", "web/1 z2 10.244.3.50", "web/2 z1 10.244.3.51"];
    assert_eq!(shown(&world, "a"), expected);
    for (ips, instances, code) in [
        ("[10.244.3.40]", 3, 150_002),
        ("[10.244.9.9]", 1, 130_009),
        ("[nonsense]", 1, 150_009),
        ("[0.0.0.0-255.255.255.255]", 1, 150_009),
    ] {
        let error = world.deploy(&with(ips, instances), "admin", NOW).unwrap_err();
        assert_eq!(error.code, code, "{ips}: {error}");
    }
    assert_eq!(shown(&world, "a"), expected, "a failed deploy changes no instance");
    let other = with("[10.244.3.40]", 1).replace("name: a\n", "name: b\n");
    assert_eq!(world.deploy(&other, "admin", NOW).unwrap_err().code, 130_008);
}

#[test]
fn errands_have_no_vm() {
    let mut world = world();
    let errand =
        "- {name: smoke, instances: 1, azs: [z3], lifecycle: errand, networks: [{name: default}], jobs: [{name: s}]}";
    world.deploy(&manifest("a", 1, errand), "admin", NOW).unwrap();
    assert_eq!(shown(&world, "a"), ["web/0 z1 10.244.0.126", "smoke/0 z3 "]);
    assert!(!instances(&world, "a")[1].expects_vm());
}

#[test]
fn the_text_is_kept_as_sent_and_shown_when_the_deploy_ends() {
    let mut world = world();
    let text = manifest("a", 1, "x-note: ((var)) # kept\n");
    let task = world.begin_deploy(&text, "admin", NOW).unwrap();
    assert_eq!(world.task(task).unwrap(), TaskState::Processing);
    assert_eq!(world.view().deployments[0].manifest, None);
    assert_eq!(instances(&world, "a").len(), 1);
    assert!(world.is_locked("a"));
    assert!(world.deploy(&text, "admin", NOW).unwrap_err().description.contains("lock"));
    world.finish_deploy(task, NOW);
    assert_eq!(world.task(task).unwrap(), TaskState::Done);
    assert_eq!(world.view().deployments[0].manifest.as_deref(), Some(text.as_str()));
    assert!(!world.is_locked("a"));
}

#[test]
fn a_deploy_emits_what_a_director_emits() {
    let mut world = world();
    world.deploy(&manifest("a", 1, ""), "admin", NOW).unwrap();
    let locks = ["acquire lock", "acquire lock", "release lock"];
    let made = ["create vm", "create vm end", "create instance", "create instance end"];
    let ended = ["create deployment", "create deployment end", "release lock"];
    assert_eq!(events(&world), [&locks[..], &made[..], &ended[..]].concat());

    let seen = events(&world).len();
    world.deploy(&manifest("a", 1, "").replace("9002", "9003"), "admin", NOW).unwrap();
    let ended = ["update deployment", "update deployment end", "release lock"];
    assert_eq!(
        events(&world)[seen..],
        [&locks[..], &ended[..]].concat(),
        "keys a director does not know change no instance"
    );

    let seen = events(&world).len();
    world.deploy(&manifest("a", 1, "").replace("release: sample", "release: other"), "admin", NOW).unwrap();
    let updated = ["update instance", "update instance end"];
    assert_eq!(events(&world)[seen..], [&locks[..], &updated[..], &ended[..]].concat());

    let seen = events(&world).len();
    world.delete("a", "admin", NOW).unwrap();
    let expected = [
        "delete deployment",
        "acquire lock",
        "delete instance",
        "delete vm",
        "acquire lock",
        "release lock",
        "delete vm end",
        "delete instance end",
        "delete deployment end",
        "release lock",
    ];
    assert_eq!(events(&world)[seen..], expected);
}

#[test]
fn a_failed_deploy_is_a_failed_task_with_events() {
    let mut world = world();
    let unknown = manifest("a", 1, "").replace("networks: [{name: default}]", "networks: [{name: nowhere}]");
    let task = world.submit(&unknown, "admin", NOW).unwrap();
    let error = world.task(task).unwrap_err();
    assert_eq!(error.to_string(), "Instance group 'web' references an unknown network 'nowhere' (code 150001)");
    let expected = ["acquire lock", "release lock", "create deployment", "create deployment end failed"];
    assert_eq!(events(&world), expected);
    assert_eq!(world.view().deployments[0].manifest, None, "it is listed, without a manifest");
    assert_eq!(world.deploy("foo: [", "admin", NOW).unwrap_err().code, 440_001);
    assert_eq!(world.deploy("foo: 1", "admin", NOW).unwrap_err().code, 40_001);
    let zone = manifest("a", 1, "").replace("z2", "z9");
    assert_eq!(world.deploy(&zone, "admin", NOW).unwrap_err().code, 140_018);
}

#[test]
fn a_network_without_a_free_address_fails_the_deploy() {
    let cloud = "azs: [{name: z1}, {name: z2}]\nnetworks: [{name: default, subnets: [{range: 10.0.0.0/30, gateway: 10.0.0.1}]}]\n";
    let mut world = World::new(cloud, true, 1).unwrap();
    // A subnet without availability zones serves every zone.
    world.deploy(&manifest("a", 1, ""), "admin", NOW).unwrap();
    assert_eq!(world.deploy(&manifest("a", 2, ""), "admin", NOW).unwrap_err().code, 130_011);
    assert_eq!(shown(&world, "a"), ["web/0 z1 10.0.0.2"]);
}

#[test]
fn a_hard_stopped_instance_is_detached_and_comes_back_to_its_address() {
    let mut world = world();
    world.deploy(&manifest("a", 2, ""), "admin", NOW).unwrap();
    let before = instances(&world, "a");
    world.stop_hard(("a", "web", "1"), "admin", NOW).unwrap();
    let stopped = &instances(&world, "a")[1];
    assert_eq!((stopped.ips().len(), stopped.expects_vm(), stopped.vm.is_none()), (0, false, true));
    world.deploy(&manifest("a", 3, ""), "admin", NOW).unwrap();
    assert_eq!(shown(&world, "a")[1..], ["web/1 z2 ", "web/2 z1 10.244.0.128"], "a deploy does not start it");
    world.start(("a", "web", &before[1].id), "admin", NOW).unwrap();
    let started = &instances(&world, "a")[1];
    assert_eq!(started.ips(), before[1].ips());
    assert_ne!(started.vm, before[1].vm, "it is another VM");
    assert_eq!(world.stop_hard(("a", "web", "9"), "admin", NOW).unwrap_err().code, 70_001);
    assert_eq!(world.stop_hard(("b", "web", "0"), "admin", NOW).unwrap_err().code, 70_000);
}

#[test]
fn a_director_that_does_not_record_events_shows_none() {
    let mut world = World::new(LAB_CLOUD_CONFIG, false, 1).unwrap();
    world.deploy(&manifest("a", 1, ""), "admin", NOW).unwrap();
    assert!(world.journal.events.is_empty());
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    let ids = |seed| {
        let mut world = World::new(LAB_CLOUD_CONFIG, true, seed).unwrap();
        world.deploy(&manifest("a", 2, ""), "admin", NOW).unwrap();
        instances(&world, "a").into_iter().map(|instance| instance.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(7), ids(7));
    assert_ne!(ids(7), ids(8));
    assert_ne!(ids(7)[0], ids(7)[1]);
}

proptest::proptest! {
    #[test]
    fn however_it_is_scaled_addresses_and_indexes_are_unique_and_who_stays_keeps_them(
        steps in proptest::collection::vec((0..3_u8, 0..6_u32), 1..12),
    ) {
        let mut world = world();
        for (deployment, count) in steps {
            let before = world.view();
            world.deploy(&manifest(&format!("d{deployment}"), count, ""), "admin", NOW).unwrap();
            let after = world.view();
            let all: Vec<&Instance> = after.deployments.iter().flat_map(|deployment| &deployment.instances).collect();
            let addresses: BTreeSet<_> = all.iter().flat_map(|instance| instance.ips()).collect();
            proptest::prop_assert_eq!(addresses.len(), all.len());
            for deployment in &after.deployments {
                let indexes: Vec<_> = deployment.instances.iter().map(|instance| instance.index).collect();
                proptest::prop_assert_eq!(indexes, (0..u32::try_from(deployment.instances.len()).unwrap()).collect::<Vec<_>>());
            }
            for old in before.deployments.iter().flat_map(|deployment| &deployment.instances) {
                let kept = all.iter().find(|instance| instance.id == old.id);
                proptest::prop_assert!(kept.is_none_or(|kept| *kept == old));
            }
        }
    }
}
