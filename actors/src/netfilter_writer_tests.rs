use std::{io, sync::Mutex};

use actix::Addr;
use boshy_mesh::Hostname;
use boshy_netfilter::{Cause, Deviation, Drift, Operation};

use super::*;

/// A simulated kernel, which the test inspects and breaks.
#[derive(Default)]
struct Paper {
    content: Option<Content>,
    refuses: bool,
    replaced: usize,
    changed: usize,
}

/// The simulated kernel as one life uses it.
struct View {
    paper: Arc<Mutex<Paper>>,
    written: Option<Content>,
}

impl Kernel for View {
    fn present(&mut self) -> Result<Content, Error> {
        Ok(self.paper.lock().unwrap().content.clone().unwrap_or_default())
    }

    fn written(&self) -> Option<Content> {
        self.written.clone()
    }

    fn keep_rules(&mut self, content: &Content) -> Result<Found, Error> {
        let mut paper = self.paper.lock().unwrap();
        let drifted = self.written.is_some() && paper.content != self.written;
        if !drifted && self.written.as_ref() == Some(content) {
            return Ok(Found::Untouched);
        }
        if paper.refuses {
            self.written = self.written.take().filter(|_| !drifted);
            let cause = Cause::Refused { step: "it".to_owned(), source: io::Error::other("no") };
            return Err(Error { operation: Operation::Apply, cause });
        }
        let found = match &self.written {
            _ if drifted => Found::Drifted(Drift { deviations: vec![Deviation::AllMissing] }),
            Some(_) => Found::Untouched,
            None => Found::Beginning,
        };
        if found == Found::Untouched {
            paper.changed += 1;
        } else {
            paper.replaced += 1;
        }
        paper.content = Some(content.clone());
        self.written = Some(content.clone());
        Ok(found)
    }

    fn keep_route(&mut self, _: Ipv4Addr) -> Result<bool, RouteError> {
        Ok(false)
    }

    fn keep_return_path(&mut self, _: bool) -> Result<(), RouteError> {
        Ok(())
    }
}

/// Strict ports that an earlier process left.
const STRICT: &[u16] = &[99];

/// A writer to which only the test sends messages.
struct Scene {
    paper: Arc<Mutex<Paper>>,
    redirected: watch::Receiver<Redirected>,
    status: Arc<ArcSwap<RulesStatus>>,
    writer: Addr<NetfilterWriter>,
    parts: NetfilterWriterParts,
}

impl Scene {
    fn with(found: Option<Pairs>, refuses: bool) -> Self {
        let closed = || Arc::new(STRICT.iter().copied().collect());
        let content = found.map(|found| Content { pairs: Arc::new(found), closed: closed(), ..Content::default() });
        let paper = Arc::new(Mutex::new(Paper { content, refuses, ..Paper::default() }));
        let kernel = {
            let paper = Arc::clone(&paper);
            move || Box::new(View { paper: Arc::clone(&paper), written: None }) as Box<dyn Kernel>
        };
        let (redirected, status) = (watch::Sender::default(), Arc::new(ArcSwap::from_pointee(RulesStatus::default())));
        let parts = NetfilterWriterParts {
            kernel: Some(Arc::new(kernel)),
            range: VipRange::default(),
            served: watch::Sender::default().subscribe(),
            answered: watch::Sender::default().subscribe(),
            ack_states: AckStates::default(),
            envoy_stop: EnvoyStop::default(),
            original_src: false,
            source: watch::Sender::new(Some(Ipv4Addr::new(10, 0, 0, 5))).subscribe(),
            redirected: redirected.clone(),
            captured: watch::Sender::default(),
            status: Arc::clone(&status),
        };
        let writer = NetfilterWriter::new(parts.clone()).start();
        Self { paper, redirected: redirected.subscribe(), status, writer, parts }
    }

    async fn serves(&self, ports: &[u16]) -> &Self {
        self.serves_with(ports, &[]).await
    }

    async fn serves_with(&self, ports: &[u16], strict: &[u16]) -> &Self {
        let strict = strict.iter().copied().collect();
        let served = Served { pairs: Arc::new(pairs(ports)), strict, ..Served::default() };
        self.writer.send(ApplyRuleset(Some(served))).await.unwrap();
        self
    }

    fn content(&self) -> Content {
        self.paper.lock().unwrap().content.clone().unwrap_or_default()
    }

    fn in_place(&self) -> Pairs {
        self.content().pairs.as_ref().clone()
    }

    fn strict(&self) -> Vec<u16> {
        self.content().closed.iter().copied().collect()
    }
}

/// Each port at a different address.
fn pairs(ports: &[u16]) -> Pairs {
    ports.iter().map(|port| SocketAddrV4::new(vip(*port), *port)).collect()
}

fn vip(port: u16) -> Ipv4Addr {
    Ipv4Addr::new(169, 254, 255, u8::try_from(port).unwrap())
}

fn names(ports: &[u16]) -> Arc<NameTable> {
    let name = |port: &u16| (Hostname::parse(&format!("a.b.c{port}.boshy")).unwrap(), vip(*port));
    Arc::new(ports.iter().map(name).collect())
}

#[actix::test]
async fn what_is_served_is_written_as_a_difference_and_told() {
    let scene = Scene::with(None, false);
    scene.serves(&[1, 2]).await.serves(&[1, 2, 3]).await;
    assert_eq!(scene.in_place(), pairs(&[1, 2, 3]));
    assert_eq!(*scene.redirected.borrow(), Redirected::by(&pairs(&[1, 2, 3])));
    let paper = scene.paper.lock().unwrap();
    assert_eq!((paper.replaced, paper.changed), (1, 1));
    assert_eq!((scene.status.load().pairs, scene.status.load().in_place), (3, true));
}

#[actix::test]
async fn a_pair_stays_until_its_name_is_answered_no_more() {
    let scene = Scene::with(None, false);
    scene.serves(&[1, 2]).await.writer.send(NamesAnswered(names(&[1, 2]))).await.unwrap();
    scene.serves(&[1]).await;
    assert_eq!(scene.in_place(), pairs(&[1, 2]));
    scene.writer.send(NamesAnswered(names(&[1]))).await.unwrap();
    assert_eq!(scene.in_place(), pairs(&[1]));
}

#[actix::test]
async fn pairs_of_an_earlier_process_stay_until_it_is_known_what_is_served() {
    let scene = Scene::with(Some(pairs(&[7, 8])), false);
    scene.writer.send(Look).await.unwrap();
    scene.writer.send(ApplyRuleset(None)).await.unwrap();
    assert_eq!(scene.in_place(), pairs(&[7, 8]));
    scene.serves(&[8]).await;
    assert_eq!(scene.in_place(), pairs(&[8]));
}

#[actix::test]
async fn strict_ports_follow_what_is_served_and_those_of_an_earlier_process_stay_until_that_is_known() {
    let scene = Scene::with(Some(pairs(&[7])), false);
    scene.writer.send(ApplyRuleset(None)).await.unwrap();
    assert_eq!(scene.strict(), STRICT);
    scene.serves_with(&[7], &[8, 9]).await;
    assert_eq!((scene.strict(), scene.status.load().strict), (vec![8, 9], 2));
    scene.paper.lock().unwrap().content = None;
    scene.writer.send(Look).await.unwrap();
    assert_eq!(scene.strict(), [8, 9], "what something else removed is back");
    scene.serves(&[7]).await;
    assert_eq!((scene.strict(), scene.status.load().strict), (vec![], 0));
}

#[actix::test]
async fn a_fresh_life_takes_nothing_away() {
    let scene = Scene::with(None, false);
    scene.serves(&[1, 2]).await;
    let next = NetfilterWriter::new(scene.parts.clone()).start();
    next.send(Look).await.unwrap();
    assert_eq!(scene.in_place(), pairs(&[1, 2]));
    assert_eq!(*scene.redirected.borrow(), Redirected::by(&pairs(&[1, 2])));
}

#[actix::test]
async fn what_something_else_removed_is_back_at_the_next_look() {
    let scene = Scene::with(None, false);
    scene.serves(&[1]).await;
    scene.paper.lock().unwrap().content = None;
    scene.writer.send(Look).await.unwrap();
    assert_eq!((scene.in_place(), scene.status.load().drift_repairs), (pairs(&[1]), 1));
}

#[actix::test]
async fn rules_that_are_refused_lead_nowhere_and_say_so_and_a_refused_change_costs_itself_only() {
    let scene = Scene::with(None, true);
    scene.serves(&[1]).await;
    assert_eq!(*scene.redirected.borrow(), Redirected::Unknown);
    let status = scene.status.load();
    assert!(!status.in_place && status.error.as_ref().is_some_and(|error| error.contains("refused it")), "{status:?}");

    scene.paper.lock().unwrap().refuses = false;
    scene.serves(&[1]).await;
    scene.paper.lock().unwrap().refuses = true;
    scene.serves(&[1, 2]).await;
    assert_eq!(*scene.redirected.borrow(), Redirected::by(&pairs(&[1])));
    assert!(!scene.status.load().in_place);

    // The rules are gone and cannot be restored: nothing is redirected any more.
    scene.paper.lock().unwrap().content = None;
    scene.serves(&[1]).await;
    assert_eq!(*scene.redirected.borrow(), Redirected::Unknown);
}

#[actix::test]
async fn where_somebody_else_redirects_names_do_not_wait() {
    let scene = Scene::with(None, false);
    let elsewhere = NetfilterWriterParts { kernel: None, ..scene.parts.clone() };
    let writer = NetfilterWriter::new(elsewhere).start();
    writer.send(Look).await.unwrap();
    assert_eq!(*scene.redirected.borrow(), Redirected::Elsewhere);
}
