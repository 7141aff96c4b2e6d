//! A director with VMs in memory, and uploads for it.

use std::{fs, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use boshy_director::client::{ClientError, DirectorClient, StepState, TaskId, TaskStatus, TaskStep};
use boshy_lab_director::{
    Account, Authentication, EmbeddedDirector, EmbeddedSettings, Handle, LAB_CLOUD_CONFIG, World,
};
use tempfile::TempDir;

use crate::{testing::Draft, vms::Vms};

/// A director that creates VMs and accepts releases.
pub(crate) struct Bench {
    pub(crate) director: Handle,
    pub(crate) vms: Vms,
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) fn new(authentication: Authentication) -> Self {
        let (folder, vms) = (tempfile::tempdir().unwrap(), Vms::default());
        let settings = EmbeddedSettings {
            authentication,
            infrastructure: Some(Arc::new(vms.clone())),
            store: folder.path().to_owned(),
            stemcells: vec![("ubuntu-noble".to_owned(), "1.0".to_owned())],
            ..EmbeddedSettings::default()
        };
        let world = World::new(LAB_CLOUD_CONFIG, true, 1).unwrap();
        let director = EmbeddedDirector::start(TcpListener::bind("127.0.0.1:0").unwrap(), settings, world).unwrap();
        Self { director, vms, folder }
    }

    pub(crate) fn basic() -> Self {
        Self::new(Authentication::Basic(vec![Account::admin("admin", "admin")]))
    }

    pub(crate) fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join("upload");
        fs::write(&path, content).unwrap();
        path
    }

    /// A release that is sent in several pieces, and whose digests show whether it arrived complete.
    pub(crate) fn release(&self) -> PathBuf {
        let noise: String =
            (0_u64..100_000).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        let tarball = Draft::new("sample", "0.1.0").job("web", "", &[("noise", &noise)]).tarball();
        assert!(tarball.len() > 300_000, "{}", tarball.len());
        self.file(&tarball)
    }
}

/// Instances without jobs, so that nothing has to be rendered.
pub(crate) fn shop(instances: u32) -> String {
    format!(
        "
name: shop
releases: []
stemcells: [{{alias: default, os: ubuntu-noble, version: latest}}]
update: {{canaries: 1, max_in_flight: 2, canary_watch_time: 1000-5000, update_watch_time: 1000-5000}}
instance_groups:
- name: web
  azs: [z1]
  instances: {instances}
  vm_type: default
  stemcell: default
  networks: [{{name: default}}]
  jobs: []
"
    )
}

pub(crate) fn uaa() -> Authentication {
    Authentication::Uaa { clients: vec![Account::admin("lab", "hunter2")], token_lifetime: Duration::from_secs(120) }
}

/// All steps of a task until it ends, and its final status.
pub(crate) async fn follow(client: &DirectorClient, task: TaskId) -> (TaskStatus, Vec<TaskStep>) {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let status = client.task(task).await.unwrap();
        let read = client.task_steps(task, from).await.unwrap();
        all.extend(read.steps);
        from = read.next;
        if status != TaskStatus::UnderWay {
            assert_eq!(client.task_steps(task, from).await.unwrap().steps, []);
            assert_eq!(client.task_steps(task, 0).await.unwrap().steps, all, "read at once it is the same");
            return (status, all);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn done(client: &DirectorClient, task: Result<TaskId, ClientError>) -> Vec<String> {
    let (status, steps) = follow(client, task.unwrap()).await;
    assert_eq!(status, TaskStatus::Done);
    steps.iter().filter(|step| step.state == StepState::Finished).map(|step| step.name.clone()).collect()
}
