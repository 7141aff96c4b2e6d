//! The director's facts on disk, with which the next process begins.
//!
//! They are written concurrently with polling: a disk may take seconds, and the next change must not wait for it. A
//! disk that refuses costs the next process its facts at the start, and nothing else. It is reported and tried again.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use boshy_backoff::{Backoff, Retries};
use boshy_mesh::Inventory;
use boshy_state::{Format, SealError};
use boshy_web::status::{Lack, LackChange};
use err_report::Report;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::clock;

const FORMAT: Format = Format { name: "boshy-inventory", version: 1 };

/// Pauses between write attempts on a disk that refuses.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), jitter: 0.25 };

/// Encodes facts as a file.
pub(crate) fn seal(inventory: &Inventory) -> Vec<u8> {
    FORMAT.seal_json(inventory)
}

/// Decodes facts from a file.
///
/// # Errors
/// When the file is foreign, newer, damaged or inconsistent.
pub(crate) fn unseal(file: &[u8]) -> Result<Inventory, SealError> {
    FORMAT.unseal_json(file)
}

/// The facts that an earlier process kept. A file that cannot be used counts as missing, because the director provides
/// everything again.
pub(crate) async fn restore(file: &Path) -> Option<Arc<Inventory>> {
    match boshy_state::read(file, unseal).await {
        Ok(inventory) => inventory.map(Arc::new),
        Err(error) => {
            let error = Report::new(&error).to_string();
            warn!(file = %file.display(), error, "beginning without kept facts");
            None
        }
    }
}

/// What is on disk, and what is being written.
pub(crate) struct KeptFacts {
    file: PathBuf,
    /// Why the facts are not on disk.
    unkept: Arc<ArcSwap<Option<Lack>>>,
    last: Option<Arc<Inventory>>,
    is_writing: bool,
    retries: Retries,
    not_before: Instant,
}

/// A write that has ended: its facts, and why they could not be written.
pub(crate) type Written = (Arc<Inventory>, Result<(), String>);

impl KeptFacts {
    /// `last` is what the file holds.
    pub(crate) fn new(file: PathBuf, unkept: Arc<ArcSwap<Option<Lack>>>, last: Option<Arc<Inventory>>) -> Self {
        Self { file, unkept, last, is_writing: false, retries: Retries::new(BACKOFF), not_before: Instant::now() }
    }

    /// The facts on disk.
    pub(crate) fn last(&self) -> Option<Arc<Inventory>> {
        self.last.clone()
    }

    /// Begins to write facts that are not on disk; [`Self::ended`] takes the result. `None` while a write is in
    /// progress or was refused recently; then a later call begins it.
    pub(crate) fn begin(&mut self, inventory: &Arc<Inventory>) -> Option<impl Future<Output = Written> + use<>> {
        if self.is_writing || self.last.as_ref() == Some(inventory) || Instant::now() < self.not_before {
            return None;
        }
        self.is_writing = true;
        let (file, inventory) = (self.file.clone(), Arc::clone(inventory));
        Some(async move {
            let facts = Arc::clone(&inventory);
            let ended = boshy_state::replace(&file, move || seal(&facts)).await;
            (inventory, ended.map_err(|error| Report::new(&error).to_string()))
        })
    }

    /// Reports how a write has ended.
    pub(crate) fn ended(&mut self, (inventory, ended): Written) {
        self.is_writing = false;
        let before = self.unkept.load().as_ref().clone();
        let lack = match ended {
            Ok(()) => {
                self.last = Some(inventory);
                self.retries.succeeded();
                None
            }
            Err(reason) => {
                self.not_before = Instant::now() + self.retries.failed();
                Some(self.lack(reason).lasting(&before))
            }
        };
        match Lack::change(before.as_ref(), lack.as_ref()) {
            Some(LackChange::Lacks(lack)) => warn!(reason = lack.reason, "what the director said is not on disk"),
            Some(LackChange::Ended) => info!("what the director said is on disk again"),
            None => return,
        }
        self.unkept.store(Arc::new(lack));
    }

    fn lack(&self, reason: String) -> Lack {
        let remedy = format!(
            "Make {} writable for the pilot, with room on the disk; until then a restart without the director begins with older facts.",
            self.file.display()
        );
        Lack { what: "facts", since: clock::now().0, reason, remedy }
    }
}

#[cfg(test)]
mod tests {
    use boshy_mesh::{Address, Deployment, Instance, InstanceGroup, Job, Port, PortName, Protocol};

    use super::*;

    fn inventory() -> Inventory {
        let port = Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp, ingress: None };
        let job = Job { name: "api".into(), ports: vec![port], runtime_config: None };
        let group = InstanceGroup { name: "web".into(), jobs: vec![job], ..InstanceGroup::default() };
        let instance = Instance {
            group: "web".into(),
            index: Some(0),
            id: "id".into(),
            az: None,
            ips: vec![Address::parse("10.20.0.16/28").unwrap()],
            expects_vm: true,
            since: 7,
            ..Instance::default()
        };
        let shop =
            Deployment { name: "shop".into(), groups: vec![group], instances: vec![instance], ..Deployment::default() };
        Inventory { deployments: vec![shop], ..Inventory::default() }
    }

    #[test]
    fn facts_come_back_as_they_were_and_are_nothing_else() {
        assert_eq!(unseal(&seal(&inventory())).unwrap(), inventory());
        let leases = Format { name: "boshy-leases", version: 1 }.seal_json(&inventory());
        assert!(matches!(unseal(&leases), Err(SealError::Foreign("boshy-inventory"))));
    }
}
