//! Operations on VMs and releases with the BOSH CLI, with requests in progress elsewhere.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    driver::{Lab, PILOT, PILOT_VM},
    load::{SteadyRequests, lost_of_many},
    manifests::{APRICOT, BANANA, CHERRY, Service, orchard, small},
};

const SAMPLE: &str = "sample-deployment";
const HARDWARE_ADDRESS: &str = "ip -o link show eth0 | grep -o 'link/ether [^ ]*'";

#[test]
fn a_rebooted_vm_is_part_of_the_mesh_again_and_nobody_else_notices() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.succeeds(["reboot", "apricot/1"]);
    works_again(&lab, "apricot/1");
    load.go_on();
    load.stop().is_flawless();
    // A reboot of a banana is not an orderly end: it loses the requests in progress, and nothing else.
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.succeeds(["reboot", "banana/1"]);
    load.reach("banana/1").reach("banana/0");
    load.stop().loses_at_most(1, "request that was being answered");
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

#[test]
fn instances_that_are_stopped_started_and_recreated_cost_no_request_to_anybody() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    let stays = SteadyRequests::start(&lab, "apricot/0", APRICOT);
    thread::scope(|scope| {
        let open = scope.spawn(|| lab.run(["exec", "apricot/1", "--", "sh", "-c", &slow_requests(BANANA)]));
        let connected = format!("ss -Htn state established dst {} | grep -q .", before[BANANA.host]);
        lab.eventually("requests are open", || lab.holds("apricot/1", &connected));
        lab.bosh(["-d", SAMPLE, "stop", "banana/1"]);
        let open = open.join().unwrap();
        assert!(open.status.success(), "a request that was open when its instance was withdrawn: {open:?}");
    });
    for caller in ["apricot/0", "apricot/1"] {
        assert_eq!(lab.endpoints(caller, BANANA.host).len(), 1, "{caller}");
    }
    assert_eq!(lab.pilot()["stopping"].as_array().unwrap().len(), 1);
    let said = lab.sh("banana/1", "cat /var/vcap/sys/log/virtual-ip-agent/pre-stop.stdout.log");
    assert!(said.starts_with("callers no longer get this VM, as told by http"), "{said}");
    load.go_on();
    lab.bosh(["-d", SAMPLE, "start", "banana/1"]);
    load.reach("banana/1");
    assert_eq!(lab.pilot()["stopping"].as_array().unwrap().len(), 0);
    let hardware = lab.sh("banana/0", HARDWARE_ADDRESS);
    lab.bosh(["-d", SAMPLE, "recreate", "banana/0"]);
    assert_eq!(lab.sh("banana/0", HARDWARE_ADDRESS), hardware, "others go on sending to the one that they know");
    load.reach("banana/0");
    thread::scope(|scope| {
        let many = scope.spawn(|| lost_of_many(&lab, "apricot/1", BANANA, 6_000));
        for banana in ["banana/0", "banana/1"] {
            lab.bosh(["-d", SAMPLE, "restart", banana]);
        }
        assert_eq!(many.join().unwrap(), BTreeMap::new());
    });
    load.stop().is_flawless();
    stays.stop().is_flawless();
    assert_eq!(lab.stranded("apricot/0", BANANA), 0);
    a_stop_is_given_up(&lab);
    lab.bosh(["-d", SAMPLE, "restart", "apricot/1"]);
    works_again(&lab, "apricot/1");
    // The pilot's leases are on its persistent disk.
    lab.bosh(["-d", "bosh-istio", "recreate", "bosh-pilot/0"]);
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

/// Some requests at the same time that take three seconds.
fn slow_requests(Service { host, port, .. }: Service) -> String {
    let one = format!("curl -sf --max-time 20 -o /dev/null http://{host}:{port}/delay/3");
    format!("for n in 1 2 3 4; do {one} & all=\"$all $!\"; done; for one in $all; do wait $one || exit 1; done")
}

/// Callers leave an instance that is about to stop, and come back when the stop is given up. A pilot that hangs holds no
/// stop up for longer than the job's property says.
fn a_stop_is_given_up(lab: &Lab) {
    let called = || lab.endpoints("apricot/0", BANANA.host).len();
    let program = "/var/vcap/packages/boshy/bin/boshy withdraw";
    thread::scope(|scope| {
        let began = Instant::now();
        let withdrawing = scope.spawn(|| lab.sh("banana/0", program));
        lab.eventually("callers have left", || called() == 1);
        eprintln!("callers have left after {:?}, seen by one look after the other", began.elapsed());
        withdrawing.join().unwrap();
    });
    lab.sh("banana/0", &format!("{program} --undo"));
    lab.eventually("callers are back", || called() == 2);

    let pilot = format!("$(cat /var/vcap/sys/run/bpm/{PILOT}/{PILOT}.pid)");
    lab.sh(PILOT_VM, &format!("kill -STOP {pilot}"));
    let began = Instant::now();
    let said = lab.sh("banana/0", "/var/vcap/jobs/virtual-ip-agent/bin/pre-stop 2>&1");
    let took = began.elapsed();
    lab.sh(PILOT_VM, &format!("kill -CONT {pilot}"));
    assert!(took < Duration::from_secs(8) && said.contains("Callers may get this VM until"), "{took:?}: {said}");
    lab.sh("banana/0", &format!("{program} --undo"));
    lab.eventually("callers are back", || called() == 2 && lab.pilot()["stopping"] == serde_json::json!([]));
}

#[test]
fn an_upgrade_from_the_version_before_costs_no_request_of_those_that_are_not_upgraded() {
    let lab = Lab::nowhere();
    let (old, new) = (lab.release("0.0.9"), lab.release("0.1.0"));
    let manifest = lab.file("small.yml", &small());
    let up = ["up", "--release", old.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()];
    lab.succeeds(up);
    lab.deploys(&orchard());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "cherry/0", BANANA);
    let stays = SteadyRequests::start(&lab, "cherry/0", CHERRY);

    lab.succeeds(["upload-release", new.to_str().unwrap()]);
    let upgraded = |text: String| text.replace("0.0.9", "0.1.0");
    lab.deploys(&upgraded(lab.bosh(["-d", "bosh-istio", "manifest"])));
    load.go_on();
    let config = lab.file("runtime.yml", &upgraded(lab.bosh(["runtime-config"])));
    lab.bosh(["update-runtime-config", config.to_str().unwrap()]);
    lab.deploys(&small());
    assert!(fs::read_to_string(config).unwrap().contains("0.1.0"));
    let deployments = lab.bosh(["deployments", "--json"]);
    assert!(deployments.contains("istio/0.1.0"), "{deployments}");

    for instance in ["banana/0", "banana/1"] {
        load.reach(instance);
    }
    load.stop().is_flawless();
    stays.stop().is_flawless();
    assert_eq!(lab.stranded("cherry/0", BANANA), 0);
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

fn works_again(lab: &Lab, vm: &str) {
    lab.eventually(&format!("{vm} reaches banana again"), || lab.answers(vm, BANANA.host, BANANA));
    SteadyRequests::start(lab, vm, BANANA).stop().is_flawless();
}
