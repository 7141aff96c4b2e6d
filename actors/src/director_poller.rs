//! Reads the director round by round and tells the registry.
//!
//! What is read when, and what is kept when the director does not answer, is decided by [`Observer`]; this actor is its clock. A
//! failed round waits longer, with jitter, up to ten poll intervals.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, AsyncContext, Context, WrapFuture};
use arc_swap::ArcSwap;
use boshy_director::{
    client::{ClientSettings, DirectorClient},
    observer::{self, Observation, Observer, ObserverSettings},
};
use boshy_mesh::Inventory;
use boshy_supervision::{ChildRef, Link};
use boshy_web::status::{DeploymentStatus, DirectorStatus};
use err_report::Report;
use tokio::{task, time::sleep};
use tracing::{error, info, warn};

use crate::{
    backoff::Pause,
    clock,
    sealed::Sealed,
    service_registry::{InventoryObserved, ServiceRegistry},
    state_file,
};

/// What a poller is made of; it outlives the actor.
#[derive(Clone)]
pub(crate) struct Polling {
    /// How to reach the director.
    pub(crate) client: ClientSettings,
    /// What to read how often.
    pub(crate) observer: ObserverSettings,
    /// Pause between two rounds.
    pub(crate) interval: Duration,
    /// Who is told.
    pub(crate) registry: ChildRef<ServiceRegistry>,
    /// What is known, for operators and for the next life.
    pub(crate) report: Arc<ArcSwap<PollReport>>,
    /// Where facts are kept for the next process.
    pub(crate) file: PathBuf,
}

/// What polling has brought so far.
#[derive(Clone, Debug)]
pub(crate) struct PollReport {
    /// The last facts, of this process or the one before; `None` while nothing is known, which is not the same as an empty
    /// director.
    pub(crate) known: Option<Arc<Inventory>>,
    /// Whether this process has read or refused every deployment once.
    pub(crate) complete: bool,
    /// How well the director answers.
    pub(crate) director: DirectorStatus,
    /// How well each deployment is known.
    pub(crate) deployments: Vec<DeploymentStatus>,
}

/// See the module.
pub(crate) struct DirectorPoller {
    polling: Polling,
    link: Link,
}

impl DirectorPoller {
    /// A poller for one life.
    pub(crate) fn new(polling: Polling, link: &Link) -> Self {
        Self { polling, link: link.clone() }
    }
}

impl Actor for DirectorPoller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        match DirectorClient::new(&self.polling.client) {
            Ok(client) => {
                ctx.spawn(rounds(self.polling.clone(), client).into_actor(self));
            }
            Err(error) => self.link.fail(ctx, error),
        }
    }
}

async fn rounds(polling: Polling, client: DirectorClient) {
    let known = polling.report.load().known.clone();
    let mut observer = match known.clone() {
        Some(known) => Observer::resuming(polling.observer, known),
        None => Observer::new(polling.observer),
    };
    if let Some(known) = known.clone() {
        // The registry logs why it could not use them; the first round tells them again.
        let _ = tell(&polling, known).await;
    }
    let mut kept = KeptFacts { file: polling.file.clone(), last: known, writing: None };
    let mut pause = Pause::new(polling.interval, polling.interval * 10);
    loop {
        let next = match round(&polling, &client, &mut observer, &mut kept).await {
            Ok(()) => pause.succeeded(),
            Err(()) => pause.failed(),
        };
        sleep(next).await;
    }
}

/// One round. Trouble is reported here and not returned: all that is left to do about it is to wait.
async fn round(
    polling: &Polling,
    client: &DirectorClient,
    observer: &mut Observer,
    kept: &mut KeptFacts,
) -> Result<(), ()> {
    match observer.observe(client, clock::now()).await {
        Ok(observation) => {
            publish(polling, &observation);
            if !observation.complete {
                return Ok(());
            }
            kept.keep(&observation.inventory);
            tell(polling, observation.inventory).await
        }
        Err(error) => {
            let text = Report::new(&error).to_string();
            warn!(error = text, "the director was not read; what is known stays");
            update(polling, |report| report.director.error = Some(text));
            Err(())
        }
    }
}

async fn tell(polling: &Polling, inventory: Arc<Inventory>) -> Result<(), ()> {
    let error = match polling.registry.send(InventoryObserved(inventory)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => Report::new(&error).to_string(),
        Err(error) => Report::new(&error).to_string(),
    };
    error!(error, "the mesh stays as it is");
    Err(())
}

fn publish(polling: &Polling, observation: &Observation) {
    let before = polling.report.load_full();
    if observation.complete && !before.complete {
        info!(deployments = observation.deployments.len(), "the director was read completely");
    }
    for deployment in &observation.deployments {
        let known = before.deployments.iter().find(|known| known.name == deployment.name);
        if let Some(error) = &deployment.error
            && known.is_none_or(|known| known.error.as_ref() != Some(error))
        {
            warn!(deployment = deployment.name, error, "this deployment keeps its last good facts");
        }
    }
    update(polling, |report| {
        report.known = observation.complete.then(|| Arc::clone(&observation.inventory)).or(report.known.take());
        // Sticky: a poller that was restarted reads anew, but what is served was complete and stays so.
        report.complete |= observation.complete;
        report.deployments =
            observation.deployments.iter().map(|each| deployment_status(each, &before.deployments)).collect();
        report.director.last_success = Some(clock::now().0);
        report.director.error = observation.events_error.as_ref().map(|error| Report::new(error.as_ref()).to_string());
    });
}

/// Facts on disk, written beside the rounds: a disk may take seconds, and the next change must not wait for it. One that refuses
/// costs the next process its head start, and nothing else.
struct KeptFacts {
    file: PathBuf,
    last: Option<Arc<Inventory>>,
    writing: Option<task::JoinHandle<()>>,
}

impl KeptFacts {
    /// Begins to write what is not written yet, unless a write is still under way; then a later round does.
    fn keep(&mut self, inventory: &Arc<Inventory>) {
        let is_busy = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if is_busy || self.last.as_ref() == Some(inventory) {
            return;
        }
        self.last = Some(Arc::clone(inventory));
        let (file, inventory) = (self.file.clone(), Arc::clone(inventory));
        self.writing = Some(task::spawn_blocking(move || {
            if let Err(error) = state_file::replace(&file, &inventory.seal()) {
                warn!(
                    error = Report::new(&error).to_string(),
                    "a restart without the director will begin with older facts"
                );
            }
        }));
    }
}

/// What an earlier process kept. A file that cannot be used is as good as none: the director tells everything again.
pub(crate) fn restore(file: &Path) -> Option<Arc<Inventory>> {
    let content = state_file::read(file).map_err(|error| Report::new(&error).to_string()).transpose()?;
    match content.and_then(|content| Inventory::unseal(&content).map_err(|error| Report::new(&error).to_string())) {
        Ok(inventory) => Some(Arc::new(inventory)),
        Err(error) => {
            warn!(file = %file.display(), error, "beginning without kept facts");
            None
        }
    }
}

/// A poller that begins anew has the facts of the life before, and not when they were read.
fn deployment_status(deployment: &observer::DeploymentStatus, before: &[DeploymentStatus]) -> DeploymentStatus {
    let read_before = || before.iter().find(|known| known.name == deployment.name)?.last_good;
    DeploymentStatus {
        name: deployment.name.clone(),
        last_good: deployment.last_good.map(|at| at.0).or_else(read_before),
        error: deployment.error.clone(),
    }
}

fn update(polling: &Polling, change: impl FnOnce(&mut PollReport)) {
    let mut report = polling.report.load().as_ref().clone();
    change(&mut report);
    polling.report.store(Arc::new(report));
}
