//! How far each port is on its way to its mode, on disk, and who was there to hear of it.
//!
//! A port goes on from where it was when the pilot starts again: a restart must neither make traffic readable nor move a
//! port before those who were connected have heard of the last move.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use boshy_mesh::{Hostname, Stage, Stages};
use boshy_state::{Format, SealError, StateFileError};
use err_report::Report;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::warn;

const FORMAT: Format = Format { name: "boshy-tunnels", version: 2 };

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The stage of each port.
    pub(crate) stages: Arc<Stages>,
    /// Ids of the instances whose agents report.
    pub(crate) agents: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct File {
    stages: BTreeMap<String, BTreeMap<u16, Stage>>,
    agents: BTreeSet<String>,
}

/// See the module's documentation. It outlives the actor that uses it.
pub(crate) struct KeptStages {
    file: PathBuf,
    /// What is in the file; `None` before it is read.
    known: Mutex<Option<Kept>>,
}

impl KeptStages {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, known: Mutex::default() }
    }

    /// What is in the file. A file that cannot be used counts as empty: each port begins where its mode begins.
    pub(crate) async fn known(&self) -> Kept {
        let mut known = self.known.lock().await;
        match &*known {
            Some(kept) => kept.clone(),
            None => known.insert(self.read().await).clone(),
        }
    }

    /// Writes this, unless the file has just it. A disk that hangs is not waited for: what else has changed is published.
    ///
    /// # Errors
    /// When the file has not got it.
    pub(crate) async fn keep(&self, kept: Kept) -> Result<(), StateFileError> {
        let mut known = self.known.lock().await;
        if known.as_ref() == Some(&kept) {
            return Ok(());
        }
        let content = seal(&kept);
        boshy_state::replace_in_time(&self.file, move || content).await?;
        *known = Some(kept);
        Ok(())
    }

    /// Where it is kept.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    async fn read(&self) -> Kept {
        boshy_state::read(&self.file, unseal).await.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            let error = Report::new(&error).to_string();
            warn!(file = %self.file.display(), error, "it is not known which ports were encrypted");
            Kept::default()
        })
    }
}

fn seal(kept: &Kept) -> Vec<u8> {
    let mut stages: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (host, port, stage) in kept.stages.iter() {
        stages.entry(host.to_string()).or_default().insert(port, stage);
    }
    FORMAT.seal_json(&File { stages, agents: kept.agents.clone() })
}

fn unseal(content: &[u8]) -> Result<Kept, SealError> {
    let File { stages, agents } = FORMAT.unseal_json(content)?;
    // A name that this boshy would not write is of no service here.
    let named = stages.into_iter().filter_map(|(name, ports)| Some((Hostname::parse(&name).ok()?, ports)));
    let stages =
        named.flat_map(|(host, ports)| ports.into_iter().map(move |(port, stage)| (host.clone(), port, stage)));
    Ok(Kept { stages: Arc::new(stages.collect()), agents })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn kept() -> Kept {
        let port = |name: &str, port, stage| (Hostname::parse(name).unwrap(), port, stage);
        let stages = [
            port("a.boshy", 80, Stage::Plain),
            port("a.boshy", 81, Stage::Closed),
            port("b.boshy", 80, Stage::Tunnelled),
        ];
        Kept { stages: Arc::new(stages.into_iter().collect()), agents: ["one".to_owned()].into() }
    }

    #[tokio::test]
    async fn what_was_kept_is_known_to_the_next_process() {
        let disk = TempDir::new().unwrap();
        let file = disk.path().join("tunnels");
        let first = KeptStages::new(file.clone());
        assert_eq!(first.known().await, Kept::default());
        first.keep(kept()).await.unwrap();
        assert_eq!(KeptStages::new(file.clone()).known().await, kept());
        std::fs::write(&file, "damaged").unwrap();
        assert_eq!(KeptStages::new(file.clone()).known().await, kept(), "the copy has it");
        boshy_state::disk::work(&file, || ()).await.unwrap();
        for damaged in [file.clone(), disk.path().join("tunnels.copy")] {
            std::fs::write(damaged, "damaged").unwrap();
        }
        assert_eq!(KeptStages::new(file).known().await, Kept::default());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_known() {
        let stages = KeptStages::new("/proc/nowhere/tunnels".into());
        stages.keep(kept()).await.unwrap_err();
        assert_eq!(stages.known().await, Kept::default());
        stages.keep(Kept::default()).await.expect("nothing has to be written");
    }
}
