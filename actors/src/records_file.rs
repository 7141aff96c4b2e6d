//! `records.json` of the pilot's own VM: the network and address of every instance of the director.
//!
//! The director says which instances exist, and this file says to which network an address belongs. It may be missing,
//! old or partial. So a row is used only for the VM that the director reports, or for an address that the director
//! reports as well. When the file is removed or broken, the rows read before stay.

use std::{collections::HashMap, fs, io, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use boshy_mesh::{Deployment, Instance, Inventory, Label, Recorded};
use boshy_records::{Record, Records};
use err_report::Report;
use tokio::time::timeout;
use tracing::{info, warn};

/// Time for one read before the mesh continues with what is known. A hung disk costs no more than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// The file of a director with 100,000 instances has 25 MB.
const MAX_BYTES: u64 = 128 << 20;

/// The file, and its rows as last read.
pub(crate) struct RecordsFile {
    path: PathBuf,
    known: ArcSwap<Known>,
}

#[derive(Default)]
struct Known {
    version: Option<FileVersion>,
    records: Arc<Rows>,
}

/// Changes with the file and with its content. The BOSH agent replaces the file by rename.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileVersion(u64, i64, i64, u64);

/// Rows by the id of their instance.
pub(crate) type Rows = HashMap<String, Vec<Record>>;

/// Why the file could not be read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Records(#[from] boshy_records::RecordsError),
}

impl RecordsFile {
    pub(crate) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, known: ArcSwap::default() })
    }

    /// The rows of the current file, or, when it cannot be read in time, the previous ones.
    pub(crate) async fn rows(self: &Arc<Self>) -> Arc<Rows> {
        let this = Arc::clone(self);
        if let Some(look) = boshy_state::disk::work_unless_busy(&self.path, move || this.look()) {
            // A read that takes longer is used by the next call; its panic is logged.
            let _ = timeout(PATIENCE, look).await;
        }
        Arc::clone(&self.known.load().records)
    }

    fn look(&self) {
        let known = self.known.load();
        let version = match fs::metadata(&self.path) {
            Ok(data) => FileVersion(data.ino(), data.mtime(), data.mtime_nsec(), data.size()),
            Err(_) => return,
        };
        if known.version == Some(version) {
            return;
        }
        let records = match self.read() {
            Ok(records) => {
                if let Some(first) = records.unreadable.first() {
                    warn!(file = %self.path.display(), lines = records.unreadable_rows, first, "lines that cannot be read are left out");
                }
                info!(version = records.version, lines = records.rows.len(), "addresses were read from records.json");
                let mut rows = Rows::new();
                records.rows.into_iter().for_each(|row| rows.entry(row.id.clone()).or_default().push(row));
                Arc::new(rows)
            }
            Err(error) => {
                let error = Report::new(&error).to_string();
                warn!(file = %self.path.display(), error, "addresses stay as they were read before");
                Arc::clone(&known.records)
            }
        };
        self.known.store(Arc::new(Known { version: Some(version), records }));
    }

    fn read(&self) -> Result<Records, LookError> {
        Ok(Records::read(&boshy_state::read_regular(&self.path, MAX_BYTES)?)?)
    }
}

/// The inventory, completed with the rows about its instances.
pub(crate) fn completed(inventory: Arc<Inventory>, rows: &Rows) -> Arc<Inventory> {
    if rows.is_empty() {
        return inventory;
    }
    let mut inventory = Arc::unwrap_or_clone(inventory);
    for deployment in &mut inventory.deployments {
        for position in 0..deployment.instances.len() {
            let instance = &deployment.instances[position];
            let Some(rows) = rows.get(&instance.id) else { continue };
            let (recorded, formerly) = (recorded(instance, rows), formerly(deployment, instance, rows));
            let instance = &mut deployment.instances[position];
            instance.recorded = recorded;
            instance.formerly = formerly.or(instance.formerly.take());
        }
    }
    Arc::new(inventory)
}

/// The rows about the VM that the director reports: those of its agent, and those whose address the director reports.
fn recorded(instance: &Instance, rows: &[Record]) -> Vec<Recorded> {
    let is_about = |row: &&Record| {
        (instance.agent_id.is_some() && row.agent_id == instance.agent_id) || instance.ips.contains(&row.address)
    };
    rows.iter().filter(is_about).map(|row| Recorded { network: row.network.clone(), address: row.address }).collect()
}

/// The previous group of an instance that the director has renamed while it still shows the old manifest: the rows are
/// renamed later than the instance.
fn formerly(deployment: &Deployment, instance: &Instance, rows: &[Record]) -> Option<String> {
    if deployment.group_of(instance).is_some() {
        return None;
    }
    let is_of = |name: &str, recorded: &str| Label::canonical(name).is_ok_and(|label| label.to_string() == recorded);
    let row = rows.iter().find(|row| is_of(&deployment.name, &row.deployment))?;
    let group = deployment.groups.iter().find(|group| is_of(&group.name, &row.instance_group))?;
    Some(group.name.clone())
}

#[cfg(test)]
mod tests {
    use boshy_mesh::{Address, InstanceGroup};

    use super::*;

    fn row(id: &str, group: &str, network: &str, ip: &str, agent: &str) -> String {
        format!(r#"["{id}","{group}","{network}","shop","{ip}","{agent}"]"#)
    }

    fn text(rows: &[String]) -> String {
        let keys = r#"["id","instance_group","network","deployment","ip","agent_id"]"#;
        format!(r#"{{"version":1,"record_keys":{keys},"record_infos":[{}]}}"#, rows.join(","))
    }

    fn shop(groups: &[&str], instances: Vec<Instance>) -> Arc<Inventory> {
        let group = |name: &&str| InstanceGroup { name: (*name).to_owned(), ..InstanceGroup::default() };
        let shop = Deployment {
            name: "shop".into(),
            groups: groups.iter().map(group).collect(),
            instances,
            ..Deployment::default()
        };
        Arc::new(Inventory { deployments: vec![shop], ..Inventory::default() })
    }

    fn instance(group: &str, id: &str, ips: &[&str], agent: Option<&str>) -> Instance {
        Instance {
            group: group.into(),
            id: id.into(),
            ips: ips.iter().map(|ip| Address::parse(ip).unwrap()).collect(),
            expects_vm: true,
            agent_id: agent.map(str::to_owned),
            ..Instance::default()
        }
    }

    /// The recorded `NETWORK ADDRESS` of the only instance.
    fn told(instance: Instance, rows: &[String]) -> Vec<String> {
        let records = Records::read(text(rows).as_bytes()).unwrap();
        let mut by_id = Rows::new();
        records.rows.into_iter().for_each(|row| by_id.entry(row.id.clone()).or_default().push(row));
        let completed = completed(shop(&["web"], vec![instance]), &by_id);
        let shown = |recorded: &Recorded| format!("{} {}", recorded.network, recorded.address);
        completed.deployments[0].instances[0].recorded.iter().map(shown).collect()
    }

    #[test]
    fn a_line_counts_for_the_vm_that_the_director_says_and_for_addresses_that_it_names() {
        let rows = [row("i", "web", "a", "10.0.0.1", "one"), row("i", "web", "b", "10.1.0.1", "one")];
        let both = ["a 10.0.0.1", "b 10.1.0.1"];
        assert_eq!(told(instance("web", "i", &["10.0.0.1", "10.1.0.1"], Some("one")), &rows), both);
        assert_eq!(told(instance("web", "i", &[], Some("one")), &rows), both, "the director names none");
        assert_eq!(told(instance("web", "i", &["10.1.0.1"], Some("two")), &rows), ["b 10.1.0.1"], "another VM");
        assert_eq!(told(instance("web", "i", &["10.9.9.9"], Some("two")), &rows), [""; 0], "the lines are old");
        assert_eq!(told(instance("web", "i", &[], None), &rows), [""; 0], "there is no VM");
        assert_eq!(told(instance("web", "other", &["10.0.0.1"], Some("one")), &rows), [""; 0], "another instance");
    }

    #[test]
    fn a_renamed_instance_is_in_the_group_that_its_line_says_while_the_manifest_has_that_group() {
        let rows = Records::read(text(&[row("i", "web-tier", "a", "10.0.0.1", "one")]).as_bytes()).unwrap().rows;
        let rows = Rows::from([("i".to_owned(), rows)]);
        let formerly = |groups: &[&str]| {
            let inventory = shop(groups, vec![instance("frontend", "i", &["10.0.0.1"], Some("one"))]);
            completed(inventory, &rows).deployments[0].instances[0].formerly.clone()
        };
        assert_eq!(formerly(&["Web_Tier"]).as_deref(), Some("Web_Tier"));
        assert_eq!(formerly(&["frontend"]), None);
        assert_eq!(formerly(&["db"]), None);
    }

    #[actix::test]
    async fn a_file_that_is_gone_broken_or_none_leaves_what_was_read_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.json");
        let file = RecordsFile::new(path.clone());
        assert!(file.rows().await.is_empty());
        fs::write(&path, text(&[row("i", "web", "a", "10.0.0.1", "one")])).unwrap();
        assert_eq!(file.rows().await["i"].len(), 1);
        fs::write(&path, "{").unwrap();
        assert_eq!(file.rows().await.len(), 1);
        fs::remove_file(&path).unwrap();
        assert_eq!(file.rows().await.len(), 1);
        fs::create_dir(&path).unwrap();
        assert_eq!(file.rows().await.len(), 1);
        fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(file.rows().await.len(), 1);
        fs::remove_file(&path).unwrap();
        fs::write(&path, text(&[row("j", "web", "a", "10.0.0.1", "one"), row("k", "web", "a", "x", "one")])).unwrap();
        assert_eq!(file.rows().await.keys().collect::<Vec<_>>(), ["j"]);
    }
}
