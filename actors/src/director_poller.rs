//! Reads the director round by round and tells the registry.
//!
//! What is read when, and what is kept when the director does not answer, is decided by [`Observer`]; this actor is its clock. A
//! failed round waits longer, with jitter, up to ten poll intervals.

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, WrapFuture};
use arc_swap::ArcSwap;
use boshy_director::{
    client::{ClientSettings, DirectorClient},
    observer::{Observation, Observer, ObserverSettings},
};
use boshy_mesh::Inventory;
use boshy_supervision::{ChildRef, Link};
use boshy_web::{DeploymentStatus, DirectorStatus};
use tokio::time;
use tracing::{error, info, warn};

use crate::{
    backoff, clock,
    error_chain::chain,
    service_registry::{InventoryObserved, ServiceRegistry},
};

/// What a poller is made of; it outlives the actor.
#[derive(Clone)]
pub struct Polling {
    /// How to reach the director.
    pub client: ClientSettings,
    /// What to read how often.
    pub observer: ObserverSettings,
    /// Pause between two rounds.
    pub interval: Duration,
    /// Who is told.
    pub registry: ChildRef<ServiceRegistry>,
    /// What is known, for operators and for the next life.
    pub report: Arc<ArcSwap<PollReport>>,
}

/// What polling has brought so far.
#[derive(Clone, Debug, Default)]
pub struct PollReport {
    /// The last facts that were published.
    pub inventory: Arc<Inventory>,
    /// Whether every deployment was read or refused once.
    pub complete: bool,
    /// How well the director answers.
    pub director: DirectorStatus,
    /// How well each deployment is known.
    pub deployments: Vec<DeploymentStatus>,
}

/// See the module.
pub struct DirectorPoller {
    polling: Polling,
    link: Link,
}

impl DirectorPoller {
    /// A poller for one life.
    pub fn new(polling: Polling, link: &Link) -> Self {
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
    let report = polling.report.load_full();
    let known = report.complete.then(|| (Arc::clone(&report.inventory), report.deployments.clone()));
    let mut observer = Observer::new(polling.observer);
    let _ = known;
    let mut pause = backoff::Pause::new(polling.interval, polling.interval * 10);
    loop {
        let next = match round(&polling, &client, &mut observer).await {
            Ok(()) => pause.succeeded(),
            Err(()) => pause.failed(),
        };
        time::sleep(next).await;
    }
}

/// One round. Trouble is reported here and not returned: all that is left to do about it is to wait.
async fn round(polling: &Polling, client: &DirectorClient, observer: &mut Observer) -> Result<(), ()> {
    match observer.observe(client, clock::now()).await {
        Ok(observation) => {
            publish(polling, &observation);
            if !observation.complete {
                return Ok(());
            }
            polling.registry.send(InventoryObserved(observation.inventory)).await.map_err(|_| ())?.map_err(|error| {
                error!(error = chain(&error), "the mesh stays as it is");
            })
        }
        Err(error) => {
            let text = chain(&error);
            warn!(error = text, "the director was not read; what is known stays");
            update(polling, |report| report.director.error = Some(text));
            Err(())
        }
    }
}

fn publish(polling: &Polling, observation: &Observation) {
    let before = polling.report.load_full();
    let deployments: Vec<DeploymentStatus> = observation
        .deployments
        .iter()
        .map(|deployment| DeploymentStatus {
            name: deployment.name.clone(),
            last_good: deployment.last_good.map(|at| at.0),
            error: deployment.error.clone(),
        })
        .collect();
    for deployment in deployments.iter().filter(|deployment| !before.deployments.contains(deployment)) {
        if let Some(error) = &deployment.error
            && before.deployments.iter().all(|known| known.name != deployment.name || known.error.as_ref() != Some(error))
        {
            warn!(deployment = deployment.name, error, "this deployment keeps its last good facts");
        }
    }
    if observation.complete && !before.complete {
        info!(deployments = deployments.len(), "the director was read completely");
    }
    update(polling, |report| {
        report.inventory = Arc::clone(&observation.inventory);
        report.complete = observation.complete;
        report.deployments = deployments;
        report.director.last_success = Some(clock::now().0);
        report.director.error = observation.events_error.as_ref().map(|error| chain(error.as_ref()));
    });
}

fn update(polling: &Polling, change: impl FnOnce(&mut PollReport)) {
    let mut report = polling.report.load().as_ref().clone();
    change(&mut report);
    polling.report.store(Arc::new(report));
}
