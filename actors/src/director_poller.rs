//! Reads the director and passes the facts to the registry.
//!
//! [`Observer`] decides what is requested when, and what an answer means; this actor provides its clock and sends the
//! requests. Its messages are [`PollNow`], which it also sends to itself, [`DirectorAnswered`] and [`RecordsTold`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use arc_swap::ArcSwap;
use boshy_director::{
    client::{ClientError, ClientSettings, DirectorClient, SettingsError},
    observer::{self, ClockReading, DirectorQuery, DirectorReply, Observation, Observer, ObserverSettings},
};
use boshy_mesh::Inventory;
use boshy_records::Readings;
use boshy_supervision::{ChildRef, Heart, Link};
use boshy_web::status::{DeploymentStatus, DirectorStatus, Lack};
use err_report::Report;
use futures::future::LocalBoxFuture;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::{
    clock,
    kept_facts::KeptFacts,
    service_registry::{InventoryObserved, ServiceRegistry},
};

/// Longest pause between two checks of what is due, and pause before facts are sent to the registry again that it could
/// not use.
const TURN: Duration = Duration::from_secs(1);
/// Sends queries to a director.
pub(crate) type Asker = Rc<dyn Fn(DirectorQuery) -> LocalBoxFuture<'static, DirectorReply>>;
/// Creates an asker for a life.
pub(crate) type Connect = Arc<dyn Fn() -> Result<Asker, SettingsError> + Send + Sync>;
/// Passes facts on, and when they were asked for. The error text says why they could not be used.
pub(crate) type Tell =
    Arc<dyn Fn(Arc<Inventory>, Readings) -> LocalBoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Configuration and channels of the poller; they outlive the actor.
#[derive(Clone)]
pub(crate) struct DirectorPollerParts {
    /// How to reach the director.
    pub(crate) connect: Connect,
    /// What to read, and how often.
    pub(crate) observer: ObserverSettings,
    /// Receiver of the facts.
    pub(crate) tell: Tell,
    /// What is known, for operators and for the next life.
    pub(crate) report: Arc<ArcSwap<PollReport>>,
    /// File in which facts are kept for the next process.
    pub(crate) file: PathBuf,
    /// Why the facts are not on disk. This actor is the only writer.
    pub(crate) unkept: Arc<ArcSwap<Option<Lack>>>,
}

/// Result of the polling so far.
#[derive(Clone, Debug)]
pub(crate) struct PollReport {
    /// The last facts, from this process or the previous one. `None` while nothing is known, which differs from an
    /// empty director.
    pub(crate) known: Option<Arc<Inventory>>,
    /// Whether this process has read or failed to read every deployment once.
    pub(crate) complete: bool,
    /// Status of the director.
    pub(crate) director: DirectorStatus,
    /// Status of each deployment.
    pub(crate) deployments: Arc<[DeploymentStatus]>,
    /// The permission that the director's client lacks, and what is unknown because configs could not be read.
    pub(crate) lacking: Vec<Lack>,
}

/// Ask the director what is due.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PollNow;

/// The director has answered, or the request has timed out.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct DirectorAnswered(pub(crate) DirectorReply);

/// Asks a director over HTTPS.
pub(crate) fn over_https(settings: ClientSettings) -> Connect {
    Arc::new(move || {
        let client = Rc::new(DirectorClient::new(&settings)?);
        Ok(Rc::new(move |query| {
            let client = Rc::clone(&client);
            Box::pin(async move { observer::ask(&client, query).await }) as LocalBoxFuture<'static, DirectorReply>
        }) as Asker)
    })
}

/// Passes facts to the registry.
pub(crate) fn to_registry(registry: ChildRef<ServiceRegistry>) -> Tell {
    Arc::new(move |inventory, readings| {
        let registry = registry.clone();
        Box::pin(async move {
            match registry.send(InventoryObserved(inventory, readings)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Report::new(&error).to_string()),
                Err(error) => Err(Report::new(&error).to_string()),
            }
        })
    })
}

/// `records.json` says something else about these deployments, given by their canonical names: ask the director at once.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct RecordsTold(pub(crate) BTreeSet<String>);

/// See the module's documentation.
pub(crate) struct DirectorPoller {
    parts: DirectorPollerParts,
    link: Link,
    heart: Heart,
    begun: Instant,
    observer: Observer,
    asker: Option<Asker>,
    timer: Option<SpawnHandle>,
    delivery: Delivery,
    kept: KeptFacts,
    /// What the published status of each deployment was made of.
    shown: Option<Arc<[observer::DeploymentStatus]>>,
}

/// State of passing facts to the registry.
#[derive(Default)]
struct Delivery {
    last: Option<Arc<Inventory>>,
    begun_at: Option<Instant>,
    was_refused: bool,
    under_way: bool,
}

impl DirectorPoller {
    /// A poller for one life.
    pub(crate) fn new(parts: DirectorPollerParts, link: &Link) -> Self {
        let known = parts.report.load().known.clone();
        let observer = match known.clone() {
            Some(known) => Observer::resuming(parts.observer, known),
            None => Observer::new(parts.observer),
        };
        let kept = KeptFacts::new(parts.file.clone(), Arc::clone(&parts.unkept), known);
        let heart = link.heart("turns");
        let (link, begun, delivery) = (link.clone(), Instant::now(), Delivery::default());
        Self { parts, link, heart, begun, observer, asker: None, timer: None, delivery, kept, shown: None }
    }

    fn clocks(&self) -> ClockReading {
        ClockReading { elapsed: self.begun.elapsed(), wall: clock::now() }
    }

    fn ask(&mut self, ctx: &mut Context<Self>) {
        self.heart.beat();
        let Some(asker) = self.asker.clone() else { return };
        for query in self.observer.due(self.clocks()) {
            let asked = asker(query).into_actor(self);
            ctx.spawn(asked.map(|answer, _, ctx| ctx.notify(DirectorAnswered(answer))));
        }
        let now = self.clocks();
        let pause = self.observer.next_at(now).saturating_sub(now.elapsed).min(TURN);
        if let Some(timer) = self.timer.replace(ctx.notify_later(PollNow, pause)) {
            ctx.cancel_future(timer);
        }
    }

    /// Passes new facts to the registry. Known facts are repeated once per list period, because the registry may have
    /// been unable to use them, and because its result may depend on the time.
    fn tell(&mut self, inventory: Arc<Inventory>, readings: &BTreeMap<String, Duration>, ctx: &mut Context<Self>) {
        let Delivery { last, begun_at, was_refused, under_way } = &self.delivery;
        let pause = match (last.as_ref() == Some(&inventory), was_refused) {
            (true, false) => self.parts.observer.list,
            (_, true) => TURN.min(self.parts.observer.list),
            (false, false) => Duration::ZERO,
        };
        if *under_way || begun_at.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        (self.delivery.under_way, self.delivery.begun_at) = (true, Some(Instant::now()));
        let readings = self.moments(readings);
        let told = (self.parts.tell)(Arc::clone(&inventory), readings).into_actor(self);
        ctx.spawn(told.map(|result, actor, ctx| {
            (actor.delivery.under_way, actor.delivery.was_refused) = (false, result.is_err());
            match result {
                Ok(()) => actor.delivery.last = Some(inventory),
                Err(error) => error!(error, "the mesh stays as it is"),
            }
            ctx.notify(PollNow);
        }));
    }

    fn keep(&mut self, inventory: &Arc<Inventory>, ctx: &mut Context<Self>) {
        if let Some(writing) = self.kept.begin(inventory) {
            ctx.spawn(writing.into_actor(self).map(|written, poller, _| poller.kept.ended(written)));
        }
    }

    fn moments(&self, readings: &BTreeMap<String, Duration>) -> Readings {
        let (now, elapsed) = (clock::moment(), self.begun.elapsed());
        let moment = |(name, asked): (&String, &Duration)| (name.clone(), now.before(elapsed.saturating_sub(*asked)));
        readings.iter().map(moment).collect()
    }

    fn tell_what_is_known(&mut self, ctx: &mut Context<Self>) {
        let observation = self.observer.known();
        let known = self.shown.replace(Arc::clone(&observation.deployments));
        publish(&self.parts, &observation, known.is_some_and(|known| Arc::ptr_eq(&known, &observation.deployments)));
        if observation.complete {
            self.keep(&observation.inventory, ctx);
            self.tell(observation.inventory, &observation.readings, ctx);
        }
    }
}

impl Actor for DirectorPoller {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        match (self.parts.connect)() {
            Ok(asker) => self.asker = Some(asker),
            Err(error) => return self.link.fail(ctx, error),
        }
        if let Some(known) = self.kept.last() {
            self.tell(known, &BTreeMap::new(), ctx);
        }
        ctx.notify(PollNow);
    }
}

impl Handler<PollNow> for DirectorPoller {
    type Result = ();

    fn handle(&mut self, _: PollNow, ctx: &mut Context<Self>) {
        self.tell_what_is_known(ctx);
        self.ask(ctx);
    }
}

impl Handler<RecordsTold> for DirectorPoller {
    type Result = ();

    fn handle(&mut self, RecordsTold(deployments): RecordsTold, ctx: &mut Context<Self>) {
        self.observer.recorded(&deployments, self.clocks());
        self.ask(ctx);
    }
}

impl Handler<DirectorAnswered> for DirectorPoller {
    type Result = ();

    fn handle(&mut self, DirectorAnswered(answer): DirectorAnswered, ctx: &mut Context<Self>) {
        self.observer.take(answer, self.clocks());
        self.tell_what_is_known(ctx);
        self.ask(ctx);
    }
}

/// Publishes what is known. The status of each deployment may be the same as before.
fn publish(parts: &DirectorPollerParts, observation: &Observation, same_deployments: bool) {
    let before = parts.report.load_full();
    if observation.complete && !before.complete {
        info!(deployments = observation.deployments.len(), "the director was read completely");
    }
    let trouble = observation.error.as_ref().map(|error| Report::new(error.as_ref()).to_string());
    if let Some(error) = trouble.as_ref().filter(|error| before.director.error.as_ref() != Some(error)) {
        warn!(error, "the director was not read; what is known stays");
    }
    let deployments = if same_deployments {
        Arc::clone(&before.deployments)
    } else {
        deployment_statuses(&observation.deployments, &before.deployments)
    };
    let director = DirectorStatus {
        url: before.director.url.clone(),
        last_success: observation.listed.map(|at| at.0).or(before.director.last_success),
        error: trouble,
    };
    let lacking = lacking(observation, &before.lacking);
    parts.report.store(Arc::new(PollReport {
        known: observation.complete.then(|| Arc::clone(&observation.inventory)).or_else(|| before.known.clone()),
        // This flag is never reset: a restarted poller reads everything anew, but the served facts were complete and
        // remain so.
        complete: before.complete || observation.complete,
        director,
        deployments,
        lacking,
    }));
}

fn deployment_statuses(new: &[observer::DeploymentStatus], before: &[DeploymentStatus]) -> Arc<[DeploymentStatus]> {
    let known: BTreeMap<&str, &DeploymentStatus> = before.iter().map(|known| (known.name.as_str(), known)).collect();
    let status = |deployment: &observer::DeploymentStatus| {
        let known = known.get(deployment.name.as_str()).copied();
        if let Some(error) = &deployment.error
            && known.is_none_or(|known| known.error.as_ref() != Some(error))
        {
            warn!(deployment = deployment.name, error, "this deployment keeps its last good facts");
        }
        deployment_status(deployment, known)
    };
    new.iter().map(status).collect()
}

/// What the pilot lacks because the director does not provide it.
fn lacking(observation: &Observation, before: &[Lack]) -> Vec<Lack> {
    const READ: &str = "Give the director's client the authority bosh.read; until then what is known stays.";
    const CONFIGS: &str = "Give the director's client the authority bosh.read, or see why the director does not answer. Until then ports that \
                           runtime configs expose stay as they are known, and so do the networks of cloud configs; all else goes on.";
    let rights = observation.error.as_ref().filter(|error| error.lacks_right());
    let lacks = [("director", rights, READ), ("configs", observation.config_error.as_ref(), CONFIGS)];
    let lack = |(what, error, remedy): (&'static str, Option<&Arc<ClientError>>, &str)| {
        let reason = Report::new(error?.as_ref()).to_string();
        let lack = Lack { what, since: clock::now().0, reason, remedy: remedy.to_owned() };
        Some(lack.lasting(before))
    };
    lacks.into_iter().filter_map(lack).collect()
}

/// A restarted poller has the facts of the previous life, but not the time at which they were read.
fn deployment_status(deployment: &observer::DeploymentStatus, before: Option<&DeploymentStatus>) -> DeploymentStatus {
    DeploymentStatus {
        name: deployment.name.clone(),
        last_good: deployment.last_good.map(|at| at.0).or_else(|| before?.last_good),
        error: deployment.error.clone(),
    }
}

#[cfg(test)]
#[path = "director_poller_tests.rs"]
mod tests;
