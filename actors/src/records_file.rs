//! `records.json` of the pilot's own VM: the network and address of every instance of the director, and what has changed
//! since the director was asked.
//!
//! The director says which instances exist, and this file says to which network an address belongs. It may be missing,
//! old or partial. So a row is used only for the VM that the director reports, or for an address that the director
//! reports as well. A change of the file is used until the director was asked again ([`RecordsNews`]). When the file is
//! removed or broken, the rows read before stay.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use boshy_mesh::{Deployment, Instance, Inventory, Label, Recorded};
use boshy_records::{Readings, Record, Records, RecordsNews, Rows};
use tracing::{info, warn};

use crate::{
    clock,
    records_source::{Looks, RecordsSource},
};

/// The file, and its content as last read.
pub(crate) struct RecordsFile {
    source: Arc<RecordsSource<Records>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    news: RecordsNews,
    /// The deployments, by canonical names, about which it says something else, and nobody was told.
    changed: BTreeSet<String>,
}

impl RecordsFile {
    pub(crate) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { source: RecordsSource::new(path, Records::read), known: Mutex::default() })
    }

    /// The times to ask for [`Self::changes`], for one task.
    pub(crate) fn looks(&self) -> Looks {
        self.source.looks()
    }

    /// The director's facts beside the current file. When it cannot be read in time, it is what it was.
    pub(crate) async fn beside(&self, facts: &Arc<Inventory>, readings: &Readings) -> RecordedFacts {
        self.read_anew().await;
        let mut known = self.known();
        let facts = known.news.applied(Arc::clone(facts), readings);
        RecordedFacts { facts, rows: Arc::clone(known.news.rows()) }
    }

    /// The deployments, by canonical names, about which the file says something else than at the last call.
    pub(crate) async fn changes(&self) -> BTreeSet<String> {
        self.read_anew().await;
        std::mem::take(&mut self.known().changed)
    }

    async fn read_anew(&self) {
        let Some(records) = self.source.newer().await else { return };
        if let Some(first) = records.unreadable.first() {
            warn!(lines = records.unreadable_rows, first, "lines of records.json that cannot be read are left out");
        }
        info!(version = records.version, lines = records.rows.len(), "addresses were read from records.json");
        let mut known = self.known();
        let changed = known.news.take(records, clock::moment(), clock::now());
        known.changed.extend(changed);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The director's facts with the changes that are newer, and the rows of the file.
#[derive(Clone)]
pub(crate) struct RecordedFacts {
    facts: Arc<Inventory>,
    rows: Arc<Rows>,
}

impl RecordedFacts {
    /// Whether both are the same pointers as others, so that what follows from them is the same.
    pub(crate) fn are(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &others.facts) && Arc::ptr_eq(&self.rows, &others.rows)
    }

    /// The facts, completed with what the file says.
    pub(crate) fn completed(&self) -> Arc<Inventory> {
        completed(Arc::clone(&self.facts), &self.rows)
    }
}

/// The inventory, completed with the rows about its instances.
fn completed(inventory: Arc<Inventory>, rows: &Rows) -> Arc<Inventory> {
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
}
