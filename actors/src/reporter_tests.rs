//! The reporter with pilots and an Envoy that the tests control.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use boshy_identity::TrustBundle;
use boshy_xds::{CERTIFICATE, Layer, ROOTS, Resource, ResourceType, TypedResources};
use tokio::{sync::Notify, task::JoinHandle};

use super::*;
use crate::held_identity::samples;

/// A moment at which everything is valid.
const NOW: Timestamp = Timestamp(1_800_000_000);
const DEADLINE: Duration = Duration::from_secs(10);
const MESH: &str = "mesh_10.0.0.2";

/// A pilot that is away or records what it hears.
#[derive(Default)]
struct Pilot {
    away: AtomicBool,
    heard: Mutex<Vec<AgentReport>>,
    attempts: Mutex<usize>,
    opens: Notify,
}

impl Desk for Pilot {
    fn name(&self) -> String {
        "pilot".to_owned()
    }

    fn report(&self, report: AgentReport) -> BoxFuture<'_, Result<bool, Failure>> {
        *self.attempts.lock().unwrap() += 1;
        let away = self.away.load(Ordering::Relaxed);
        if !away {
            self.heard.lock().unwrap().push(report);
        }
        let failure = Failure { reason: "away".to_owned(), remedy: "Wait.".to_owned() };
        Box::pin(async move { if away { Err(failure) } else { Ok(true) } })
    }

    fn reopened(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.opens.notified())
    }
}

impl Pilot {
    fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    fn last(&self) -> Option<AgentReport> {
        self.heard.lock().unwrap().last().cloned()
    }
}

/// What tunnels to a VM need.
fn mesh_resources() -> ResourceSet {
    let parts = [
        (ResourceType::Listener, MESH),
        (ResourceType::Route, MESH),
        (ResourceType::Secret, CERTIFICATE),
        (ResourceType::Secret, ROOTS),
    ];
    parts.iter().fold(ResourceSet::default(), |set, (kind, _)| {
        let of_kind = parts.iter().filter(|(of, _)| of == kind);
        let layer: Layer = of_kind.map(|(_, name)| Resource::new(*name, vec![1])).collect();
        set.with(*kind, TypedResources::new([layer]))
    })
}

/// A VM that has been so for longer than a pilot believes a report.
fn long_since(stopping: bool) -> Stopping {
    Stopping { now: stopping, since: Instant::now().checked_sub(2 * REPORT_LIFE).unwrap() }
}

/// A VM with two pilots. Nothing is repeated in time unless a test says so.
struct Vm {
    pilots: [Arc<Pilot>; 2],
    held: watch::Sender<Arc<Held>>,
    parts: ReporterParts,
    reporter: Option<JoinHandle<()>>,
}

impl Vm {
    fn with(held: Held) -> Self {
        let pilots: [Arc<Pilot>; 2] = Default::default();
        let desks = pilots.iter().map(|pilot| Arc::clone(pilot) as Arc<dyn Desk>).collect();
        let held = watch::Sender::new(Arc::new(held));
        let never = Backoff { first: Duration::MAX, longest: Duration::MAX, jitter: 0.0 };
        let pace = Pace { heartbeat: never, retry: never, gather: Duration::from_millis(1), look: Duration::MAX };
        let vm = ReportedVm {
            served: watch::Sender::new(Arc::default()).subscribe(),
            ack_states: AckStates::default(),
            held: held.subscribe(),
            stopping: watch::Sender::new(long_since(false)).subscribe(),
            now: Arc::new(|| NOW),
        };
        let parts = ReporterParts { desks, vm, pace, withdrawal: Withdrawal::default() };
        Self { pilots, held, parts, reporter: None }
    }

    fn with_envoy(mut self, served: ResourceSet, ack_states: AckStates) -> Self {
        (self.parts.vm.served, self.parts.vm.ack_states) =
            (watch::Sender::new(Arc::new(served)).subscribe(), ack_states);
        self
    }

    /// Whether the VM stops is what its withdrawal says.
    fn that_may_stop(mut self) -> Self {
        self.parts.vm.stopping = self.parts.withdrawal.stopping();
        self
    }

    fn at_pace(mut self, change: impl FnOnce(&mut Pace)) -> Self {
        change(&mut self.parts.pace);
        self
    }

    fn starts(mut self) -> Self {
        self.reporter = Some(tokio::spawn(report(self.parts.clone(), Heart::unwatched())));
        self
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Arc<Pilot>; 2]) -> bool) {
        let becomes = async {
            while !holds(&self.pilots) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, becomes).await.unwrap_or_else(|_| panic!("{what}"));
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.reporter.take().into_iter().for_each(|reporter| reporter.abort());
    }
}

#[tokio::test]
async fn every_pilot_hears_of_a_vm_once_it_has_a_certificate_and_that_without_envoy_it_is_not_able() {
    let vm = Vm::with(Held::default()).starts();
    let held = samples::held(NOW);
    let roots = TrustBundle::from_pem(held.issued().unwrap().chain().roots_pem()).unwrap().fingerprints();
    vm.held.send_replace(Arc::new(held));
    vm.until("both hear", |pilots| pilots.iter().all(|pilot| pilot.count() == 1)).await;
    let expected = AgentReport {
        able: false,
        issuer: Some(roots[0].clone()),
        roots: roots.into_iter().collect(),
        stopping: false,
    };
    assert!(vm.pilots.iter().all(|pilot| pilot.last() == Some(expected.clone())));
}

#[tokio::test]
async fn an_envoy_that_has_not_accepted_the_roots_of_its_vm_does_not_have_them() {
    let (ack_states, _envoy) = AckStates::with_acked(&[(ResourceType::Listener, &Resource::new(MESH, vec![1]))]);
    let vm = Vm::with(samples::held(NOW)).with_envoy(ResourceSet::default(), ack_states).starts();
    vm.until("both hear", |pilots| pilots.iter().all(|pilot| pilot.count() == 1)).await;
    assert!(vm.pilots[0].last().unwrap().roots.is_empty());
}

#[tokio::test]
async fn an_envoy_that_has_accepted_a_part_of_what_tunnels_need_is_not_able() {
    let served = mesh_resources();
    let (ack_states, _envoy) = AckStates::with_acked(&[(ResourceType::Listener, &Resource::new(MESH, vec![1]))]);
    let vm = Vm::with(samples::held(NOW)).with_envoy(served, ack_states).starts();
    vm.until("both hear", |pilots| pilots.iter().all(|pilot| pilot.count() == 1)).await;
    assert!(!vm.pilots[0].last().unwrap().able);
}

#[tokio::test]
async fn a_pilot_that_is_away_costs_the_other_nothing_and_hears_when_it_is_back() {
    let vm = Vm::with(samples::held(NOW)).at_pace(|pace| {
        pace.retry = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5), jitter: 0.0 };
    });
    vm.pilots[0].away.store(true, Ordering::Relaxed);
    let vm = vm.starts();
    vm.until("the other hears", |pilots| pilots[1].count() == 1).await;
    vm.until("it is asked again and again", |pilots| *pilots[0].attempts.lock().unwrap() > 3).await;
    vm.pilots[0].away.store(false, Ordering::Relaxed);
    vm.until("it hears", |pilots| pilots[0].count() == 1).await;
    assert_eq!(vm.pilots[1].count(), 1);
}

#[tokio::test]
async fn a_report_is_repeated_in_time_and_to_a_pilot_whose_stream_opens() {
    let vm = Vm::with(samples::held(NOW)).starts();
    vm.until("both hear", |pilots| pilots.iter().all(|pilot| pilot.count() == 1)).await;
    vm.pilots[1].opens.notify_one();
    vm.until("it hears again", |pilots| pilots[1].count() == 2).await;
    assert_eq!(vm.pilots[0].count(), 1);

    let short = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(1), jitter: 0.3 };
    let vm = Vm::with(samples::held(NOW)).at_pace(|pace| pace.heartbeat = short).starts();
    vm.until("both hear it again", |pilots| pilots.iter().all(|pilot| pilot.count() > 3)).await;
}

#[tokio::test]
async fn an_envoy_that_has_accepted_all_of_it_makes_its_vm_able_at_every_pilot_and_only_while_it_is_there() {
    let served = mesh_resources();
    let kinds = [ResourceType::Listener, ResourceType::Route, ResourceType::Secret];
    let of_kind = |kind| served.of(kind).iter().map(move |resource| (kind, &**resource));
    let (ack_states, envoy) = AckStates::with_acked(&kinds.into_iter().flat_map(of_kind).collect::<Vec<_>>());
    let vm = Vm::with(samples::held(NOW)).with_envoy(served.clone(), ack_states).starts();
    let all_say = |able| {
        move |pilots: &[Arc<Pilot>; 2]| pilots.iter().all(|pilot| pilot.last().is_some_and(|last| last.able == able))
    };
    vm.until("both hear that it is able", all_say(true)).await;
    drop(envoy);
    vm.until("both hear that it is no longer", all_say(false)).await;
}

#[tokio::test]
async fn a_vm_without_a_certificate_reports_that_it_stops_and_that_it_does_not_and_else_nothing() {
    let vm = Vm::with(Held::default()).that_may_stop().starts();
    let hear = |stopping| {
        move |pilots: &[Arc<Pilot>; 2]| {
            pilots.iter().all(|pilot| pilot.last() == Some(AgentReport { stopping, ..AgentReport::default() }))
        }
    };
    vm.until("both hear that it has started", hear(false)).await;
    let pilots = BTreeSet::from(["pilot".to_owned()]);
    let withdrawn = vm.parts.withdrawal.withdraw(&pilots, DEADLINE).await;
    assert_eq!((withdrawn.told, withdrawn.is_called), (vec!["pilot".to_owned()], true));
    vm.until("both hear that it stops", hear(true)).await;
    assert!(vm.parts.withdrawal.take_back());
    vm.until("both hear that it does not", hear(false)).await;
}

#[test]
fn that_a_vm_does_not_stop_is_no_news_once_no_pilot_can_believe_otherwise() {
    assert_eq!(of_stop(long_since(false)), None);
    assert!(of_stop(long_since(true)).unwrap().stopping, "a drain may take hours");
}

#[tokio::test]
async fn a_certified_vm_reports_that_it_stops_with_all_else() {
    let vm = Vm::with(samples::held(NOW)).that_may_stop().starts();
    vm.until("both hear", |pilots| pilots.iter().all(|pilot| pilot.count() == 1)).await;
    let before = vm.pilots[0].last().unwrap();
    vm.parts.withdrawal.withdraw(&BTreeSet::new(), Duration::ZERO).await;
    let expected = AgentReport { stopping: true, ..before };
    vm.until("both hear that it stops", |pilots| pilots.iter().all(|pilot| pilot.last() == Some(expected.clone())))
        .await;
}

#[tokio::test]
async fn a_pilot_that_was_away_is_asked_at_once_when_the_vm_stops_and_before_its_turn() {
    let vm = Vm::with(Held::default()).that_may_stop();
    vm.pilots.iter().for_each(|pilot| pilot.away.store(true, Ordering::Relaxed));
    let vm = vm.starts();
    vm.until("both are asked", |pilots| pilots.iter().all(|pilot| *pilot.attempts.lock().unwrap() == 1)).await;
    vm.pilots.iter().for_each(|pilot| pilot.away.store(false, Ordering::Relaxed));
    let pilots = BTreeSet::from(["pilot".to_owned()]);
    assert!(vm.parts.withdrawal.withdraw(&pilots, DEADLINE).await.untold.is_empty());
    vm.until("both hear it", |pilots| pilots.iter().all(|pilot| pilot.last().is_some_and(|last| last.stopping))).await;
}
