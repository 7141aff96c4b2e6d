//! An observer of an embedded director, and the facts it has.

use std::{collections::BTreeMap, time::Duration};

use boshy_director::{
    client::DirectorClient,
    observer::{self, ClockReading, Observation, Observer, ObserverSettings},
};
use boshy_lab_director::Handle;
use boshy_mesh::Timestamp;

use crate::common::{client, director, manifest, since};

/// An observer with its director, client and clock.
pub(crate) struct Scene {
    pub(crate) director: Handle,
    client: DirectorClient,
    pub(crate) observer: Observer,
    pub(crate) now: u64,
}

impl Scene {
    pub(crate) fn new(director: Handle) -> Self {
        // The pass is so slow that only a test that waits for it sees it.
        let settings = ObserverSettings { full_pass: Duration::from_secs(6_000), ..ObserverSettings::default() };
        Self { client: client(&director), director, observer: Observer::new(settings), now: 0 }
    }

    /// A director with the deployments `a` and `b`, observed once.
    pub(crate) async fn begun() -> Self {
        let director = director();
        for name in ["a", "b"] {
            director.deploy(&manifest(name, 2, 8080)).unwrap();
        }
        let mut scene = Self::new(director);
        assert!(scene.round().await.complete);
        scene
    }

    /// A round ten seconds later.
    pub(crate) async fn round(&mut self) -> Observation {
        self.now += 10;
        self.asks().await
    }

    /// Asks all queries until none is due.
    pub(crate) async fn asks(&mut self) -> Observation {
        loop {
            let moment = ClockReading { elapsed: Duration::from_secs(self.now), wall: Timestamp(1_000_000 + self.now) };
            let due = self.observer.due(moment);
            if due.is_empty() {
                return self.observer.known();
            }
            let answers = due.into_iter().map(|query| observer::ask(&self.client, query));
            for answer in futures::future::join_all(answers).await {
                self.observer.take(answer, moment);
            }
        }
    }

    /// A round, and the requests that it made.
    pub(crate) async fn costed(&mut self) -> (Observation, Vec<String>) {
        let before = self.director.requests();
        let observation = self.round().await;
        (observation, since(&self.director, &before))
    }
}

/// Requests of ten seconds: the observer's own tests cover the request in each second.
pub(crate) const STEADY: [&str; 4] = ["1 GET /deployments", "1 GET /events", "1 GET /locks", "1 GET /tasks"];

pub(crate) fn facts(observation: &Observation) -> BTreeMap<String, (Vec<u16>, usize)> {
    let line = |deployment: &boshy_mesh::Deployment| {
        let ports = deployment.groups.iter().flat_map(|group| &group.jobs).flat_map(|job| &job.ports);
        (deployment.name.clone(), (ports.map(|port| port.number).collect(), deployment.instances.len()))
    };
    observation.inventory.deployments.iter().map(line).collect()
}

pub(crate) fn expect(pairs: &[(&str, u16, usize)]) -> BTreeMap<String, (Vec<u16>, usize)> {
    pairs.iter().map(|(name, port, count)| ((*name).to_owned(), (vec![*port], *count))).collect()
}

pub(crate) fn error<'a>(observation: &'a Observation, name: &str) -> Option<&'a str> {
    observation.deployments.iter().find(|status| status.name == name).unwrap().error.as_deref()
}
