//! The stages of all ports.

use std::collections::BTreeMap;

use crate::{Hostname, MtlsMode, Port, Service, Stage, Standing};

/// The stage of each port that has been published, by service and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages(BTreeMap<Hostname, BTreeMap<u16, Stage>>);

impl Stages {
    /// The stage of a port; `None` for one that has not been published.
    pub fn get(&self, host: &Hostname, port: u16) -> Option<Stage> {
        self.0.get(host)?.get(&port).copied()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Hostname, u16, Stage)> {
        self.0.iter().flat_map(|(host, ports)| ports.iter().map(move |(port, stage)| (host, *port, *stage)))
    }

    /// The stages to be published next, of these services. A service that is away keeps its stages while `is_kept`.
    #[must_use]
    pub fn next<'s>(
        &self,
        services: impl IntoIterator<Item = &'s Service>,
        wanted: impl Fn(&Service, &Port) -> MtlsMode,
        standing: impl Fn(&Service, &Port) -> Standing,
        is_kept: impl Fn(&Hostname) -> bool,
    ) -> Self {
        let of_port = |service: &Service, port: &Port| match self.get(&service.host, port.number) {
            Some(stage) => stage.next(wanted(service, port), standing(service, port)),
            None => Stage::first(wanted(service, port)),
        };
        let of_service = |service: &'s Service| {
            let ports = service.ports.iter().map(|port| (port.number, of_port(service, port)));
            (service.host.clone(), ports.collect())
        };
        let mut next: BTreeMap<_, BTreeMap<_, _>> = services.into_iter().map(of_service).collect();
        for (host, ports) in self.0.iter().filter(|(host, _)| is_kept(host)) {
            next.entry(host.clone()).or_insert_with(|| ports.clone());
        }
        Self(next)
    }
}

impl FromIterator<(Hostname, u16, Stage)> for Stages {
    fn from_iter<I: IntoIterator<Item = (Hostname, u16, Stage)>>(ports: I) -> Self {
        let mut stages: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (host, port, stage) in ports {
            stages.entry(host).or_default().insert(port, stage);
        }
        Self(stages)
    }
}
