//! A director with VMs in memory, and the real CLI that uses it.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_lab_director::{
    Account, Authentication, EmbeddedDirector, EmbeddedSettings, Handle, LAB_CLOUD_CONFIG, World,
};
use tempfile::TempDir;

use crate::vms::Vms;

const SECRET: &str = "the-secret";

pub(crate) struct Bench {
    pub(crate) director: Handle,
    pub(crate) vms: Vms,
    pub(crate) folder: TempDir,
}

/// Result of a run of the CLI.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ok: bool,
    /// Standard output, then standard error.
    pub(crate) text: String,
}

impl Ran {
    /// Fails the test unless the command succeeded and printed all of it.
    pub(crate) fn says(self, expected: &[&str]) -> Self {
        assert!(self.ok, "{}", self.text);
        self.mentions(expected)
    }

    /// Fails the test unless the command failed and printed all of it.
    pub(crate) fn refuses(self, expected: &[&str]) -> Self {
        assert!(!self.ok, "{}", self.text);
        self.mentions(expected)
    }

    fn mentions(self, expected: &[&str]) -> Self {
        for text in expected {
            assert!(self.text.contains(text), "no '{text}' in:\n{}", self.text);
        }
        self
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Authentication::Basic(vec![Account::admin("admin", SECRET)]))
    }

    pub(crate) fn with(authentication: Authentication) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vms = Vms::default();
        let settings = EmbeddedSettings {
            authentication,
            infrastructure: Some(Arc::new(vms.clone())),
            store: folder.path().join("store"),
            stemcells: vec![("ubuntu-noble".to_owned(), "1.0".to_owned())],
            ssh_hint: "VMs have no SSH here: use `lab exec GROUP/INDEX`".to_owned(),
            ..EmbeddedSettings::default()
        };
        fs::create_dir_all(&settings.store).unwrap();
        let world = World::new(LAB_CLOUD_CONFIG, true, 1).unwrap();
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let director = EmbeddedDirector::start_on(vec![listen(), listen()], settings, world).unwrap();
        Self { director, vms, folder }
    }

    /// A bench with the release `sample` uploaded.
    pub(crate) fn ready() -> Self {
        let bench = Self::new();
        let tarball = bench.release("0.1.0", "");
        bench.bosh(&["upload-release", tarball.to_str().unwrap()]).says(&["Task 1 done"]);
        bench
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn bosh(&self, args: &[&str]) -> Ran {
        self.bosh_as("admin", SECRET, args)
    }

    pub(crate) fn bosh_as(&self, client: &str, secret: &str, args: &[&str]) -> Ran {
        let output = self.command(client, secret, args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { ok: output.status.success(), text: text(&output.stdout) + &text(&output.stderr) }
    }

    /// Starts a command that runs concurrently with the test.
    pub(crate) fn begin(&self, args: &[&str]) -> Running {
        let child = self.command("admin", SECRET, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Running(child.unwrap())
    }

    fn command(&self, client: &str, secret: &str, args: &[&str]) -> Command {
        let program = std::env::var_os("BOSHY_BOSH").expect("BOSHY_BOSH names the BOSH CLI");
        let ca = self.write("ca.pem", self.director.ca_pem());
        let mut command = Command::new(program);
        command
            .args(["-n", "--tty", "--no-color"])
            .args(args)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("BOSH_ENVIRONMENT", self.director.url())
            .env("BOSH_CA_CERT", ca)
            .env("BOSH_CLIENT", client)
            .env("BOSH_CLIENT_SECRET", secret)
            .stdin(Stdio::null());
        command
    }

    /// A tarball of the release `sample`, made by the CLI. Its job `web` has the properties `port` and `secret`.
    pub(crate) fn release(&self, version: &str, more: &str) -> PathBuf {
        let folder = format!("release-{version}-{}", more.len());
        let put = |path: &str, text: &str| _ = self.write(&format!("{folder}/{path}"), text);
        put("config/final.yml", "name: sample\n");
        put("config/blobs.yml", "--- {}\n");
        put("jobs/web/monit", "check process web with pidfile /var/vcap/sys/run/bpm/web/web.pid\n");
        put(
            "jobs/web/spec",
            "name: web\ntemplates: {config.yml.erb: config/config.yml}\npackages: [tool]\nproperties:\n  \
             port: {description: where it listens, default: 80}\n  name: {description: no default}\n",
        );
        put(
            "jobs/web/templates/config.yml.erb",
            &format!("port: <%= p('port') %>\nname: <%= p('name') %>\nindex: <%= spec.index %>\n{more}"),
        );
        put("packages/tool/spec", "name: tool\nfiles: [tool/**/*]\n");
        put("packages/tool/packaging", "cp -r tool ${BOSH_INSTALL_TARGET}/\n");
        put("src/tool/run", "#!/bin/sh\n");
        self.tarball(&folder, version)
    }

    /// The tarball that the CLI makes of the release `sample` in this folder.
    pub(crate) fn tarball(&self, folder: &str, version: &str) -> PathBuf {
        let tarball = self.folder.path().join(format!("{folder}.tgz"));
        let (at, file) = (format!("--dir={folder}"), format!("--tarball={}", tarball.display()));
        self.bosh(&["create-release", "--force", &at, &format!("--version={version}"), &file]).says(&["sample"]);
        tarball
    }

    /// A manifest of the deployment `shop` with instances of the job `web`.
    pub(crate) fn manifest(&self, instances: u32, properties: &str) -> String {
        let text = format!(
            "
name: shop
releases: [{{name: sample, version: 0.1.0}}]
stemcells: [{{alias: default, os: ubuntu-noble, version: latest}}]
update: {{canaries: 1, max_in_flight: 2, canary_watch_time: 1000-5000, update_watch_time: 1000-5000}}
instance_groups:
- name: web
  azs: [z1]
  instances: {instances}
  vm_type: default
  stemcell: default
  networks: [{{name: default}}]
  jobs: [{{name: web, release: sample, properties: {properties}}}]
"
        );
        self.write("shop.yml", &text)
    }

    /// Deploys `shop`.
    pub(crate) fn deploy(&self, instances: u32, properties: &str, flags: &[&str]) -> Ran {
        let manifest = self.manifest(instances, properties);
        self.bosh(&[&["-d", "shop", "deploy", &manifest], flags].concat())
    }
}

pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn wait(self) -> Ran {
        let output = self.0.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { ok: output.status.success(), text: text(&output.stdout) + &text(&output.stderr) }
    }
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}
