//! Deploys.

use crate::bench::{Bench, eventually};

#[test]
fn a_deploy_shows_its_diff_and_steps_and_does_them_in_order() {
    let bench = Bench::ready();
    bench.deploy(3, "{name: a, port: 8080}", &[]).says(&[
        "+ instance_groups:",
        "+   name: web",
        "+       name: <redacted>",
        "Preparing deployment: Preparing deployment",
        "Preparing deployment: Rendering templates",
        "Creating missing vms: web/",
        "Updating instance web: web/",
        "(0) (canary)",
        "L starting jobs: web/",
        "done",
    ]);
    let orders = bench.vms.take_orders();
    assert_eq!(orders[..3], ["create web/0", "create web/1", "create web/2"]);
    assert_eq!(orders[3..5], ["apply web/0", "start web/0"], "the canary goes first");
    assert_eq!(bench.vms.file("web/2", "config/config.yml"), "port: 8080\nname: a\nindex: 2\n");
    bench.bosh(&["deployments"]).says(&["shop", "sample/0.1.0", "ubuntu-noble-go_agent/1.0"]);
    bench.bosh(&["-d", "shop", "manifest"]).says(&["name: shop", "port: 8080"]);
    bench.bosh(&["-d", "shop", "vms"]).says(&["web/", "running", "10.244.0.126", "3 vms"]);
    bench.bosh(&["-d", "shop", "instances", "--ps"]).says(&["web/", "web", "running", "z1"]);
    bench.bosh(&["events"]).says(&["create", "deployment", "shop", "vm"]);
    bench.bosh(&["tasks", "--recent"]).says(&["create deployment", "create release", "done"]);
    bench.bosh(&["task", "2"]).says(&["Updating instance web", "Task 2 done"]);
    bench.bosh(&["task", "2", "--debug"]).says(&["create deployment"]);
    bench.bosh(&["locks"]).says(&["0 locks"]);
    bench.bosh(&["-d", "shop", "variables"]).says(&["0 variables"]);

    bench.deploy(3, "{name: a, port: 8080}", &[]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), [""; 0], "the same again touches nothing");
    bench.deploy(2, "{name: b, port: 8080}", &[]).says(&[
        "-   instances: 3",
        "+   instances: 2",
        "Deleting unneeded instances: web/",
    ]);
    let orders = bench.vms.take_orders();
    assert_eq!(orders[..2], ["drain web/2", "delete web/2"]);
    assert_eq!(orders[2..5], ["drain web/0", "apply web/0", "start web/0"], "no VM is made anew");
    assert_eq!(orders.len(), 8);
}

#[test]
fn dns_records_are_on_every_vm_before_its_jobs_start_and_follow_every_change() {
    let bench = Bench::ready();
    bench.vms.hold("start web/0");
    let deploy = {
        let manifest = bench.manifest(2, "{name: a}");
        bench.begin(&["-d", "shop", "deploy", &manifest])
    };
    eventually("the canary's start", || bench.vms.take_orders().contains(&"start web/0".to_owned()));
    let records = |index: u32| -> serde_json::Value {
        let state = bench.vms.state();
        let vm = state.vms.values().find(|vm| vm.spec.index == index).unwrap();
        serde_json::from_str(vm.records.as_deref().unwrap()).unwrap()
    };
    assert_eq!(records(0)["records"].as_array().unwrap().len(), 2);
    assert_eq!(records(0), records(1));
    let before = records(0)["version"].as_u64().unwrap();
    bench.bosh(&["locks"]).says(&["deployment", "shop", "1 locks"]);
    bench.bosh(&["-d", "shop", "tasks"]).says(&["processing", "create deployment"]);
    bench.vms.heal();
    deploy.wait().says(&["done"]);
    bench.deploy(1, "{name: a}", &[]).says(&["done"]);
    assert!(records(0)["version"].as_u64().unwrap() > before);
    assert_eq!(records(0)["records"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_rendered_changes_nothing() {
    let bench = Bench::ready();
    bench.deploy(1, "{port: 1}", &[]).refuses(&[
        "Unable to render instance groups for deployment. Errors are:",
        "Error filling in template 'config.yml.erb' (line 2: Can't find property '[\"name\"]')",
    ]);
    assert_eq!(bench.vms.take_orders(), [""; 0]);
    bench.bosh(&["-d", "shop", "manifest"]).says(&[]);
    let manifest = bench.write("unknown.yml", "name: shop\nreleases: [{name: none, version: 1}]\nstemcells: []\nupdate: {canaries: 1, max_in_flight: 1, canary_watch_time: 1, update_watch_time: 1}\ninstance_groups: []\n");
    bench.bosh(&["-d", "shop", "deploy", &manifest]).refuses(&["Release 'none' doesn't exist"]);
}

#[test]
fn a_dry_run_renders_and_touches_nothing() {
    let bench = Bench::ready();
    bench.deploy(1, "{name: a}", &["--dry-run"]).says(&["Rendering templates", "done"]);
    bench.deploy(1, "{}", &["--dry-run"]).refuses(&["Can't find property"]);
    assert_eq!(bench.vms.take_orders(), [""; 0]);
    bench.bosh(&["deployments"]).says(&["0 deployments"]);
}

#[test]
fn variables_and_ops_files_are_filled_in_by_the_cli() {
    let bench = Bench::ready();
    let ops = bench.write("ops.yml", "- {type: replace, path: /instance_groups/name=web/instances, value: 2}\n");
    let name = bench.write("name.txt", "from a file");
    let file = format!("--var-file=name={name}");
    bench.deploy(1, "{name: ((name)), port: ((port))}", &["-v", "port=9", &file, "-o", &ops]).says(&["done"]);
    assert_eq!(bench.vms.file("web/1", "config/config.yml"), "port: 9\nname: from a file\nindex: 1\n");
}

#[test]
fn an_instance_that_does_not_run_ends_the_deploy_and_the_next_one_tries_again() {
    let bench = Bench::ready();
    bench.vms.fail("start web/0", "it fell over");
    bench.deploy(3, "{name: a}", &[]).refuses(&["(0)' is not running after update. Review logs for failed jobs: web"]);
    let orders = bench.vms.take_orders();
    assert!(!orders.contains(&"apply web/1".to_owned()), "others wait for the canary: {orders:?}");
    bench.bosh(&["-d", "shop", "vms"]).says(&["failing"]);
    bench.vms.heal();
    bench.deploy(3, "{name: a}", &[]).says(&["done"]);
    assert!(bench.vms.take_orders().contains(&"start web/2".to_owned()));
}

#[test]
fn a_cancelled_task_ends_between_two_steps() {
    let bench = Bench::ready();
    bench.vms.hold("start web/0");
    let manifest = bench.manifest(2, "{name: a}");
    let deploy = bench.begin(&["-d", "shop", "deploy", &manifest]);
    eventually("the canary's start", || bench.vms.take_orders().contains(&"start web/0".to_owned()));
    bench.bosh(&["cancel-task", "2"]).says(&[]);
    bench.vms.heal();
    deploy.wait().refuses(&["Task 2 cancelled"]);
    assert!(!bench.vms.take_orders().contains(&"start web/1".to_owned()));
    bench.bosh(&["cancel-task", "2"]).refuses(&["Cannot cancel task 2: invalid state (cancelled)"]);
}

#[test]
fn the_next_deploy_waits_for_the_lock_and_gives_up() {
    let bench = Bench::ready();
    bench.vms.hold("start web/0");
    let manifest = bench.manifest(1, "{name: a}");
    let first = bench.begin(&["-d", "shop", "deploy", &manifest]);
    eventually("the canary's start", || bench.vms.take_orders().contains(&"start web/0".to_owned()));
    bench.bosh(&["-d", "shop", "deploy", &manifest]).refuses(&["Failed to acquire lock for lock:deployment:shop"]);
    bench.vms.heal();
    first.wait().says(&["done"]);
}

#[test]
fn a_script_that_fails_is_told_as_its_agent_tells_it() {
    let bench = Bench::ready();
    bench.vms.fail("start web/0", "1 of 1 pre-start scripts failed. Failed Jobs: web. Successful Jobs: .");
    bench
        .deploy(1, "{name: a}", &[])
        .refuses(&["Action Failed get_task: Task ", "1 of 1 pre-start scripts failed. Failed Jobs: web."]);
}

#[test]
fn an_agent_that_does_not_answer_fails_a_deploy_unless_it_is_to_be_fixed() {
    let bench = Bench::ready();
    bench.deploy(1, "{name: a}", &[]).says(&["done"]);
    bench.vms.take_orders();
    bench.vms.state().vms.values_mut().for_each(|vm| vm.silent = true);
    bench.deploy(1, "{name: a}", &[]).refuses(&["Timed out sending 'get_state' to instance: 'web/"]);
    bench.bosh(&["-d", "shop", "vms"]).says(&["unresponsive agent"]);
    bench.deploy(1, "{name: a}", &["--fix"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["delete web/0", "create web/0", "apply web/0", "start web/0"]);
}

#[test]
fn an_addon_comes_with_the_next_deploy_and_a_change_of_state_does_not_bring_it() {
    let bench = Bench::ready();
    bench.deploy(1, "{name: a}", &[]).says(&["done"]);
    bench.vms.take_orders();
    let text = "
releases: [{name: bpm, version: 1.2.3}]
addons: [{name: bpm, jobs: [{name: bpm, release: bpm}], include: {deployments: [shop]}}]
";
    let runtime = bench.write("runtime.yml", text);
    bench.bosh(&["update-runtime-config", &runtime]).says(&[]);
    bench.bosh(&["-d", "shop", "restart"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["drain web/0", "start web/0"]);
    bench.deploy(1, "{name: a}", &[]).says(&["+ addons:", "done"]);
    assert_eq!(bench.vms.take_orders(), ["drain web/0", "apply web/0", "start web/0"]);
    bench.bosh(&["deployments"]).says(&["bpm/1.2.3", "sample/0.1.0"]);
    bench.bosh(&["-d", "shop", "instances", "--ps"]).says(&["bpm", "web"]);
}

#[test]
fn a_variable_is_made_once_and_shown() {
    let bench = Bench::ready();
    let manifest = bench.manifest(1, "{name: ((/word))}");
    let text = std::fs::read_to_string(&manifest).unwrap() + "variables: [{name: /word, type: password}]\n";
    let manifest = bench.write("with-variable.yml", &text);
    bench.bosh(&["-d", "shop", "deploy", &manifest]).says(&["done"]);
    let made = bench.vms.file("web/0", "config/config.yml");
    assert!(!made.contains("(("), "{made}");
    bench.bosh(&["-d", "shop", "deploy", &manifest]).says(&["done"]);
    assert_eq!(bench.vms.file("web/0", "config/config.yml"), made);
    bench.bosh(&["-d", "shop", "variables"]).says(&["/word", "1 variables"]);
    bench.bosh(&["-d", "shop", "manifest"]).says(&["name: ((/word))"]);
    bench.deploy(1, "{name: ((/unknown))}", &[]).refuses(&["/unknown"]);
}

#[test]
fn another_stemcell_needs_other_vms() {
    let bench = Bench::ready();
    bench.deploy(1, "{name: a}", &[]).says(&["done"]);
    bench.vms.take_orders();
    let url = "https://bosh.io/d/stemcells/bosh-warden-boshlite-ubuntu-noble-go_agent?v=1.5";
    bench.bosh(&["upload-stemcell", url]).says(&["done"]);
    bench.deploy(1, "{name: a}", &[]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["drain web/0", "delete web/0", "create web/0", "apply web/0", "start web/0"]);
    bench.deploy(1, "{name: a}", &["--recreate", "--skip-drain"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders()[0], "stop web/0");
}

#[test]
fn who_deploys_may_say_how_many_go_at_a_time() {
    let bench = Bench::ready();
    bench.vms.hold("start web/0");
    let manifest = bench.manifest(3, "{name: a}");
    let deploy = bench.begin(&["-d", "shop", "deploy", &manifest, "--canaries=0", "--max-in-flight=100%"]);
    let seen = std::cell::RefCell::new(Vec::new());
    eventually("the start of the others", || {
        seen.borrow_mut().extend(bench.vms.take_orders());
        ["start web/0", "start web/1", "start web/2"].iter().all(|order| seen.borrow().iter().any(|seen| seen == order))
    });
    bench.vms.heal();
    deploy.wait().says(&["done"]);
}

#[test]
fn a_deployment_says_whether_its_cloud_config_is_the_latest() {
    let bench = Bench::ready();
    bench.deploy(1, "{name: a}", &[]).says(&["done"]);
    let state = || bench.bosh(&["curl", "/deployments"]).text;
    assert!(state().contains(r#""cloud_config":"latest""#), "{}", state());
    let cloud = boshy_lab_director::LAB_CLOUD_CONFIG.replace("- name: small", "- name: large");
    let cloud = bench.write("cloud.yml", &cloud);
    bench.bosh(&["update-cloud-config", &cloud]).says(&[]);
    assert!(state().contains(r#""cloud_config":"outdated""#), "{}", state());
    bench.bosh(&["curl", "/deployment_configs?deployment[]=shop"]).says(&[r#""type":"cloud""#]);
}
