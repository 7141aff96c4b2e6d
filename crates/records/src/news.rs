//! What `records.json` tells before the director was asked. Pure.
//!
//! The director writes its own tables first and publishes the file afterwards, and the file may be late. So a state of
//! the file says nothing about whether the director's answer is older or newer. Only a *change* from one version to the
//! next does: it applies to an instance that the director's last answer still has in the state before the change. The
//! agent id identifies the VM, and no VM comes back, so that state cannot be a later one.
//!
//! The director decides as soon as an answer to a question says otherwise that was asked after the change was seen. An
//! answer that was asked for before it takes nothing back, and one that still has the VM before the change is believed
//! after [`GRACE`](crate::GRACE) only. So no instance is shown in a state, then in an earlier one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use boshy_mesh::{Inventory, Moment, Timestamp};

use crate::{
    Record, Records,
    change::{Change, Said, Vm},
    overlay,
};

/// How many instances are remembered that the director had and has no more.
const MAX_GONE: usize = 10_000;

/// Rows by the id of their instance.
pub type Rows = HashMap<String, Vec<Record>>;

/// When the question about a deployment's instances was asked that the director answered last.
pub type Readings = BTreeMap<String, Moment>;

/// The file as it was last read, and which of its changes the director has not confirmed.
#[derive(Debug, Default)]
pub struct RecordsNews {
    version: u64,
    rows: Arc<Rows>,
    open: BTreeMap<String, Change>,
    told: Told,
}

/// The instances that the director has told, and the ids of those that it told before.
#[derive(Debug, Default)]
struct Told {
    inventory: Arc<Inventory>,
    gone: VecDeque<String>,
}

impl RecordsNews {
    /// Takes the file's content. Returns the deployments, by their canonical names, of the rows that have changed since
    /// the last time.
    ///
    /// The first content, and one whose version is not greater than the last, is where later changes begin: a restored
    /// director counts from an older version. While a row cannot be parsed, no row counts as gone.
    pub fn take(&mut self, records: Records, at: Moment, since: Timestamp) -> BTreeSet<String> {
        let (was, is_newer) = (self.version, self.version > 0 && records.version > self.version);
        self.version = records.version;
        let mut rows = Rows::new();
        records.rows.into_iter().for_each(|row| rows.entry(row.id.clone()).or_default().push(row));
        let before = Arc::clone(&self.rows);
        if records.unreadable_rows > 0 {
            for (id, known) in &*before {
                rows.entry(id.clone()).or_insert_with(|| known.clone());
            }
        }
        let mut changed = BTreeSet::new();
        let ids: BTreeSet<&String> = before.keys().chain(rows.keys()).collect();
        for id in ids {
            let [old, new] = [&*before, &rows].map(|rows| rows.get(id).map_or(&[][..], Vec::as_slice));
            if old == new {
                continue;
            }
            changed.extend(old.iter().chain(new).map(|row| row.deployment.clone()));
            if is_newer {
                self.note(id, old, new, (at, since));
            }
        }
        self.rows = Arc::new(rows);
        if was > 0 { changed } else { BTreeSet::new() }
    }

    fn note(&mut self, id: &str, old: &[Record], new: &[Record], (at, since): (Moment, Timestamp)) {
        let of = new.first().or(old.first()).map(|row| row.deployment.clone());
        let (Some(from), Some(vm), Some(deployment)) = (vm(old), vm(new), of) else {
            self.open.remove(id);
            return;
        };
        let rows = new.to_vec();
        if from == vm {
            self.open.get_mut(id).into_iter().for_each(|change| change.rows.clone_from(&rows));
            return;
        }
        let change = self.open.remove(id).unwrap_or_default();
        let last = if change.rows.is_empty() { change.last } else { change.rows };
        // The VM may have been missing for a moment, or be missing now and stay an endpoint.
        let is_same_vm = !last.is_empty() && (vm.is_none() || self::vm(&last).as_ref() == Some(&vm));
        let since = if is_same_vm { change.since } else { since };
        let (mut before, shown, followed) = (change.before, change.shown, change.followed);
        before.insert(from);
        before.remove(&vm);
        self.open.insert(
            id.to_owned(),
            Change { before, vm, deployment, rows, last, at, since, shown, followed, ended: false },
        );
    }

    /// The rows as last read.
    pub fn rows(&self) -> &Arc<Rows> {
        &self.rows
    }

    /// Number of changes that the director has not confirmed.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The director's facts with the changes that are newer. Changes that the director has confirmed or denied are
    /// forgotten. `readings` belong to these facts.
    pub fn applied(&mut self, inventory: Arc<Inventory>, readings: &Readings) -> Arc<Inventory> {
        self.told.take(&inventory);
        if self.open.is_empty() {
            return inventory;
        }
        let known = overlay::Known::of(&inventory);
        self.open.retain(|id, change| {
            let Some((deployment, instance)) = known.place(id, &change.deployment) else { return false };
            let said = match instance.map(|instance| instance.agent_id.as_deref()) {
                None => Said::Vm(None),
                Some(Some(agent)) => Said::Vm(Some(agent)),
                Some(None) => Said::Other,
            };
            // No instance comes back, so the file is late.
            let is_late = matches!(said, Said::Vm(None)) && change.vm.is_some() && self.told.gone.contains(id);
            if is_late && !change.followed {
                return false;
            }
            change.is_open(&said, readings.get(&deployment.name).copied())
        });
        let shown = self.open.iter().filter(|(_, change)| change.shown);
        let proposed = known.proposed(shown);
        for (id, change) in &mut self.open {
            match proposed.get(id) {
                Some((_, Some(_))) => change.followed = true,
                Some((_, None)) => change.ended |= change.rows.is_empty(),
                None => {}
            }
        }
        if proposed.is_empty() {
            return inventory;
        }
        Arc::new(overlay::with(Inventory::clone(&inventory), proposed))
    }
}

impl Told {
    fn take(&mut self, inventory: &Arc<Inventory>) {
        if Arc::ptr_eq(&self.inventory, inventory) {
            return;
        }
        let there: HashSet<&String> = ids(inventory).collect();
        self.gone.extend(ids(&self.inventory).filter(|id| !there.contains(id)).cloned());
        self.gone.drain(..self.gone.len().saturating_sub(MAX_GONE));
        self.inventory = Arc::clone(inventory);
    }
}

fn ids(inventory: &Inventory) -> impl Iterator<Item = &String> {
    inventory.deployments.iter().flat_map(|deployment| &deployment.instances).map(|instance| &instance.id)
}

/// The VM of an instance's rows; the outer `None` when they name several, or none.
fn vm(rows: &[Record]) -> Option<Vm> {
    let Some(first) = rows.first() else { return Some(None) };
    let agent = first.agent_id.clone().filter(|agent| !agent.is_empty())?;
    rows.iter().all(|row| row.agent_id.as_ref() == Some(&agent)).then_some(Some(agent))
}

#[cfg(test)]
#[path = "news_tests.rs"]
mod tests;
