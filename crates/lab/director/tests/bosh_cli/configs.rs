//! Authentication, uploads and configs.

use std::time::Duration;

use boshy_lab_director::{Account, Authentication, LAB_CLOUD_CONFIG};

use crate::bench::Bench;

#[test]
fn env_and_login_of_a_director_with_local_users() {
    let bench = Bench::new();
    bench.bosh(&["env"]).says(&["embedded", "bc148442-1317-4d10-bfe9-322b20186179", "User", "admin"]);
    bench.bosh(&["log-in"]).says(&["Logged in to"]);
    bench.bosh_as("admin", "wrong", &["deployments"]).refuses(&["Not authorized"]);
    bench.bosh_as("admin", "wrong", &["log-in"]).refuses(&["Invalid credentials"]);
}

#[test]
fn env_and_login_of_a_director_with_a_uaa() {
    let clients = vec![Account::admin("admin", "the-secret"), Account::reader("watcher", "pw")];
    let bench = Bench::with(Authentication::Uaa { clients, token_lifetime: Duration::from_secs(120) });
    bench.bosh(&["env"]).says(&["User", "admin"]);
    bench.bosh(&["log-in"]).says(&["Successfully authenticated with UAA"]);
    bench.bosh_as("admin", "wrong", &["log-in"]).refuses(&["Failed to authenticate with UAA"]);
    bench.bosh_as("watcher", "pw", &["deployments"]).says(&["0 deployments"]);
    let config = bench.write("c.yml", "a: 1\n");
    bench
        .bosh_as("watcher", "pw", &["update-config", "--type=mesh", "--name=x", &config])
        .refuses(&["Require one of the scopes"]);
}

#[test]
fn releases_are_taken_once_and_broken_or_unknown_ones_refused() {
    let bench = Bench::new();
    let tarball = bench.release("0.1.0", "");
    let tarball = tarball.to_str().unwrap();
    bench.bosh(&["upload-release", tarball]).says(&[
        "Creating new packages: tool/",
        "Creating new jobs: web/",
        "Task 1 done",
    ]);
    bench.bosh(&["upload-release", tarball]).says(&[
        "Processing 1 existing package",
        "Processing 1 existing job",
        "done",
    ]);
    let other = bench.release("0.1.0", "more: true\n");
    bench
        .bosh(&["upload-release", other.to_str().unwrap()])
        .refuses(&["job 'web' had different fingerprint in previously uploaded release 'sample/0.1.0'"]);
    bench.bosh(&["releases"]).says(&["sample", "0.1.0", "1 releases"]);
    bench.bosh(&["inspect-release", "sample/0.1.0"]).says(&["web/", "tool/"]);
    let broken = bench.write("broken.tgz", "no archive");
    bench.bosh(&["upload-release", &broken]).refuses(&["Extracting release"]);
    bench
        .bosh(&["upload-release", "https://example.com/other-release?v=1"])
        .refuses(&["this director has no internet"]);
    bench
        .bosh(&["upload-release", "https://bosh.io/d/github.com/cloudfoundry/bpm-release?v=1.2.3"])
        .says(&["Release has been created: bpm/1.2.3", "done"]);
    bench.bosh(&["delete-release", "sample/0.1.0"]).says(&["Done"]);
}

#[test]
fn stemcells_are_taken_by_name() {
    let bench = Bench::new();
    bench.bosh(&["stemcells"]).says(&["bosh-warden-boshlite-ubuntu-noble-go_agent", "1.0"]);
    let url = "https://bosh.io/d/stemcells/bosh-warden-boshlite-ubuntu-jammy-go_agent?v=1.5";
    bench.bosh(&["upload-stemcell", url]).says(&["Task 1 done"]);
    bench.bosh(&["stemcells"]).says(&["ubuntu-jammy", "1.5", "2 stemcells"]);
}

#[test]
fn configs_of_all_kinds_are_shown_compared_and_kept() {
    let bench = Bench::new();
    let cloud = bench.write("cloud.yml", &LAB_CLOUD_CONFIG.replace("- name: small", "- name: large"));
    bench.bosh(&["update-cloud-config", &cloud]).says(&["- - name: small", "+ - name: large"]);
    bench.bosh(&["cloud-config"]).says(&["name: large"]);
    let runtime = bench.write("runtime.yml", "releases: []\naddons: [{name: a, jobs: []}]\n");
    bench.bosh(&["update-runtime-config", "--name=mesh", &runtime]).says(&["+ addons:", "name: a"]);
    bench.bosh(&["runtime-config", "--name=mesh"]).says(&["addons"]);
    let routes = bench.write("routes.yml", "hosts: []\n");
    bench.bosh(&["update-config", "--type=mesh", "--name=routes", &routes]).says(&["+ hosts"]);
    let more = bench.write("more.yml", "hosts: [a]\n");
    bench.bosh(&["update-config", "--type=mesh", "--name=routes", &more]).says(&["+ - a"]);
    bench.bosh(&["configs"]).says(&["cloud", "runtime", "mesh", "routes", "3 configs"]);
    bench.bosh(&["diff-config", "--from-id=4", "--to-id=5"]).says(&["+ - a"]);
    bench.bosh(&["diff-config", "--from-id=4", "--to-id=99"]).refuses(&["Config with ID '99' not found."]);
    let bad = bench.write("bad.yml", "- no hash\n");
    bench.bosh(&["update-runtime-config", &bad]).refuses(&[]);
}
