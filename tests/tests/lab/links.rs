//! BOSH links as policies, with jobs of a release that the real CLI makes.

use std::fs;

use crate::{
    driver::{Lab, PILOT_VM},
    manifests::SAMPLE,
};

const HOST: &str = "db.server.linked.boshy";
const PORT: u16 = 9004;
const CONSUMER_VM: &str = "client/0";
/// It has the certificate of another deployment, and no link.
const STRANGER_VM: &str = "apricot/0";
const PILOT_PROPERTIES: &str = "/instance_groups/name=bosh-pilot/jobs/name=bosh-pilot/properties";

/// Links are switched on, where everything accepts mutual TLS only.
pub(crate) fn say_who_may_call(lab: &Lab) {
    lab.bosh(["upload-release", &release(lab)]);
    lab.deploys(&manifest());
    let reaches = |vm: &str| lab.holds(vm, &format!("curl -sf --max-time 5 http://{HOST}:{PORT}/ip"));
    for vm in [CONSUMER_VM, STRANGER_VM] {
        lab.eventually(&format!("{vm} calls, because links say nothing"), || reaches(vm));
    }
    enforce(lab);
    lab.eventually("who consumes no link may not call", || !reaches(STRANGER_VM));
    assert!(reaches(CONSUMER_VM), "who consumes the link may not call");
    let check = |from: &str| {
        let target = format!("{HOST}:{PORT}");
        let output = lab.run(["exec", PILOT_VM, "--", "boshy", "authz", "check", from, &target]);
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let link = r#"link "server/db/store" of deployment "linked""#;
    let (allowed, told) = check("linked/client");
    assert!(allowed && told.contains(&format!("allowed by {link}")), "{told}");
    let (allowed, told) = check("sample-deployment/apricot");
    assert!(!allowed && told.contains(&format!("no rule allows it of {link}")), "{told}");
    lab.deletes("linked");
}

fn enforce(lab: &Lab) {
    let manifest = lab.file("bosh-istio.yml", &lab.bosh(["-d", "bosh-istio", "manifest"]));
    let operation =
        format!("- type: replace\n  path: {PILOT_PROPERTIES}/authorization?/from_links\n  value: ENFORCE\n");
    let operation = lab.file("from-links.yml", &operation);
    lab.bosh(["-d", "bosh-istio", "deploy", manifest.to_str().unwrap(), "-o", operation.to_str().unwrap()]);
}

/// A release with a job that provides a link and one that consumes it. Neither has a process.
fn release(lab: &Lab) -> String {
    let folder = lab.file("links-release.tgz", "").with_file_name("links-release");
    let write = |path: &str, content: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("config/final.yml", "name: linked\n");
    write("config/blobs.yml", "{}\n");
    fs::create_dir_all(folder.join("packages")).unwrap();
    fs::create_dir_all(folder.join("src")).unwrap();
    for (job, links) in
        [("db", "provides: [{name: store, type: store}]"), ("app", "consumes: [{name: store, type: store}]")]
    {
        write(
            &format!("jobs/{job}/spec"),
            &format!("name: {job}\ntemplates: {{}}\npackages: []\nproperties: {{}}\n{links}\n"),
        );
        write(&format!("jobs/{job}/monit"), "");
    }
    let (folder, tarball) = (folder.to_str().unwrap(), format!("{}.tgz", folder.display()));
    lab.bosh(["create-release", "--force", "--dir", folder, "--version", "1", "--tarball", &tarball]);
    tarball
}

fn manifest() -> String {
    let head = SAMPLE.split_once("instance_groups:").unwrap().0.replace("sample-deployment", "linked");
    let head = head.replacen("releases:\n", "releases:\n- {name: linked, version: '1'}\n", 1);
    let group = |name: &str, job: &str| {
        format!(
            "- name: {name}\n  azs: [z1]\n  instances: 1\n  vm_type: default\n  stemcell: default\n  \
             networks: [{{name: default}}]\n  jobs:\n  \
             - {{name: example-httpbin, release: istio, properties: {{port: {PORT}}}}}\n  - {{{job}, release: linked}}\n"
        )
    };
    let db = format!("name: db, expose_ports: [{{name: http, number: {PORT}}}]");
    format!("{head}instance_groups:\n{}{}", group("server", &db), group("client", "name: app"))
}
