//! Stop, start and similar actions, logs and deletion.

use crate::bench::{Bench, read};

#[test]
fn a_group_is_stopped_started_restarted_and_recreated_one_after_the_other() {
    let bench = Bench::ready();
    bench.deploy(2, "{name: a}", &[]).says(&["done"]);
    bench.vms.take_orders();
    bench.bosh(&["-d", "shop", "stop", "web"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["drain web/0", "drain web/1"]);
    bench.bosh(&["-d", "shop", "instances"]).says(&["stopped"]);
    bench.deploy(2, "{name: b}", &[]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["apply web/0", "apply web/1"], "what is stopped stays stopped");
    bench.bosh(&["-d", "shop", "start"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["start web/0", "start web/1"]);
    bench.bosh(&["-d", "shop", "restart", "web/1", "--skip-drain"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["stop web/1", "start web/1"]);
    bench.bosh(&["-d", "shop", "recreate", "web/0"]).says(&["done"]);
    let expected = ["drain web/0", "delete web/0", "create web/0", "apply web/0", "start web/0"];
    assert_eq!(bench.vms.take_orders(), expected);
    bench.bosh(&["-d", "shop", "stop", "--hard", "web/1"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["drain web/1", "delete web/1"]);
    bench.bosh(&["-d", "shop", "instances"]).says(&["web/"]);
    bench.bosh(&["-d", "shop", "start", "web/1"]).says(&["done"]);
    assert_eq!(bench.vms.take_orders(), ["create web/1", "apply web/1", "start web/1"]);
    bench.bosh(&["-d", "shop", "stop", "none"]).refuses(&["Instance group 'none' doesn't exist"]);
    bench.bosh(&["-d", "shop", "manifest"]).says(&["name: shop"]);
}

#[test]
fn one_instance_is_treated_without_regard_to_the_others() {
    let bench = Bench::ready();
    bench.deploy(2, "{name: a}", &[]).says(&["done"]);
    bench.vms.take_orders();
    let act = |verb: &str, more: &[&str]| {
        bench
            .bosh(&[&["-d", "shop", verb, "--no-converge", "web/1"], more].concat())
            .says(&["instance web: web/", "done"]);
        bench.vms.take_orders()
    };
    assert_eq!(act("stop", &[]), ["drain web/1"]);
    assert_eq!(act("start", &[]), ["start web/1"]);
    assert_eq!(act("restart", &[]), ["drain web/1", "start web/1"]);
    assert_eq!(act("recreate", &[]), ["drain web/1", "delete web/1", "create web/1", "apply web/1", "start web/1"]);
    assert_eq!(act("stop", &["--hard"]), ["drain web/1", "delete web/1"]);
    assert_eq!(act("start", &[]), ["create web/1", "apply web/1", "start web/1"]);
}

#[test]
fn logs_are_downloaded_and_ssh_says_what_to_use_instead() {
    let bench = Bench::ready();
    bench.deploy(2, "{name: a}", &[]).says(&["done"]);
    let to = bench.folder.path().join("logs");
    std::fs::create_dir(&to).unwrap();
    let flag = format!("--dir={}", to.display());
    bench.bosh(&["-d", "shop", "logs", "web/0", &flag]).says(&["done"]);
    let file = std::fs::read_dir(&to).unwrap().next().unwrap().unwrap().path();
    assert!(String::from_utf8(read(&file)).unwrap().starts_with("logs of vm-"));
    bench.bosh(&["-d", "shop", "logs", &flag]).says(&["done"]);
    bench.bosh(&["-d", "shop", "ssh", "web/0", "-c", "true"]).refuses(&["use `lab exec GROUP/INDEX`"]);
    bench.bosh(&["-d", "shop", "run-errand", "smoke"]).refuses(&["this director runs no errands"]);
}

#[test]
fn a_deployment_is_deleted_with_its_vms() {
    let bench = Bench::ready();
    bench.deploy(2, "{name: a}", &[]).says(&["done"]);
    bench.vms.take_orders();
    bench.bosh(&["-d", "shop", "delete-deployment"]).says(&["Deleting instances: web/", "done"]);
    let mut orders = bench.vms.take_orders();
    orders.sort();
    assert_eq!(orders, ["delete web/0", "delete web/1", "drain web/0", "drain web/1"]);
    bench.bosh(&["deployments"]).says(&["0 deployments"]);
    bench.bosh(&["-d", "shop", "delete-deployment"]).says(&[]);
}
