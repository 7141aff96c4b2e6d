//! The services that are reached through tunnels, on disk.
//!
//! A permissive service is tunnelled once all its instances are able. It stays so when one is not able for a while, and
//! when the pilot starts again before the agents have connected: a restart must not make traffic readable.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use boshy_mesh::{Hostname, Leases, SnapshotContent};
use boshy_state::{Format, SealError};
use err_report::Report;
use tokio::sync::Mutex;
use tracing::warn;

const FORMAT: Format = Format { name: "boshy-tunnels", version: 1 };

type Hosts = Arc<BTreeSet<Hostname>>;

/// See the module's documentation. It outlives the actor that uses it.
pub(crate) struct TunnelledServices {
    file: PathBuf,
    /// What is in the file; `None` before it is read.
    known: Mutex<Option<Hosts>>,
}

impl TunnelledServices {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, known: Mutex::default() }
    }

    /// The services in the file. A file that cannot be used counts as empty: services are tunnelled again once their
    /// instances are able.
    pub(crate) async fn known(&self) -> Hosts {
        let mut known = self.known.lock().await;
        match &*known {
            Some(hosts) => Arc::clone(hosts),
            None => Arc::clone(known.insert(self.read().await)),
        }
    }

    /// Writes the services, unless the file has just these. Returns whether the file has them now.
    pub(crate) async fn keep(&self, hosts: BTreeSet<Hostname>) -> bool {
        let mut known = self.known.lock().await;
        if known.as_deref() == Some(&hosts) {
            return true;
        }
        let content = FORMAT.seal_json(&names(&hosts));
        match boshy_state::replace(&self.file, move || content).await {
            Ok(()) => {
                *known = Some(Arc::new(hosts));
                true
            }
            Err(error) => {
                let error = Report::new(&error).to_string();
                warn!(file = %self.file.display(), error, "no further service is tunnelled: it could not be kept");
                false
            }
        }
    }

    async fn read(&self) -> Hosts {
        let content = boshy_state::read(&self.file).await.map_err(|error| Report::new(&error).to_string());
        let hosts = content.and_then(|content| match content {
            Some(content) => unseal(&content).map_err(|error| Report::new(&error).to_string()),
            None => Ok(BTreeSet::new()),
        });
        let hosts = hosts.unwrap_or_else(|error| {
            warn!(file = %self.file.display(), error, "it is not known which services were tunnelled");
            BTreeSet::new()
        });
        Arc::new(hosts)
    }
}

/// What is to be kept: the services that are tunnelled, and those of the ones that were that have no instances or no
/// deployment for a while. A service is gone for good when its address may be given to another.
pub(crate) fn to_keep(content: &SnapshotContent, known: &BTreeSet<Hostname>, leases: &Leases) -> BTreeSet<Hostname> {
    let leased: BTreeSet<_> = leases.iter().map(|(_, lease)| &lease.host).collect();
    let away = known.iter().filter(|host| content.service(host.as_str()).is_none() && leased.contains(host));
    let tunnelled = content.services.iter().filter(|plan| plan.tunnel.is_some()).map(|plan| plan.host());
    tunnelled.chain(away).cloned().collect()
}

fn names(hosts: &BTreeSet<Hostname>) -> Vec<&str> {
    hosts.iter().map(Hostname::as_str).collect()
}

fn unseal(content: &[u8]) -> Result<BTreeSet<Hostname>, SealError> {
    let names: Vec<String> = FORMAT.unseal_json(content)?;
    // A name that an older boshy would not write is of no service here.
    Ok(names.iter().filter_map(|name| Hostname::parse(name).ok()).collect())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn hosts(names: &[&str]) -> BTreeSet<Hostname> {
        names.iter().map(|name| Hostname::parse(name).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_was_tunnelled_is_known_to_the_next_process() {
        let disk = TempDir::new().unwrap();
        let file = disk.path().join("tunnels");
        let first = TunnelledServices::new(file.clone());
        assert!(first.known().await.is_empty());
        assert!(first.keep(hosts(&["a.boshy", "b.boshy"])).await);
        assert_eq!(*TunnelledServices::new(file.clone()).known().await, hosts(&["a.boshy", "b.boshy"]));
        std::fs::write(&file, "damaged").unwrap();
        assert!(TunnelledServices::new(file).known().await.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_known() {
        let services = TunnelledServices::new("/proc/nowhere/tunnels".into());
        assert!(!services.keep(hosts(&["a.boshy"])).await);
        assert!(services.known().await.is_empty());
        assert!(services.keep(BTreeSet::new()).await, "nothing has to be written");
    }
}
