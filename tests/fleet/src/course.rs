//! What is done to one pilot, and measured; and the means with which `several` measures others.

use std::{
    net::Ipv4Addr,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use boshy_tests::{Authority, Papers};
use boshy_tls::ClientTls;
use boshy_xds::{ALPN, ResourceType, agent::Uri};
use bytes::Bytes;
use rustls::{ClientConfig, client::Resumption};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    agent,
    args::Args,
    awaited::{Awaited, Item},
    figures::Figures,
    fleet::Fleet,
    holdings::WITNESS,
    pilot::{NAME, Pilot},
    site::Site,
};

/// The address of the agent whose VM provides no service.
const WITNESS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// How often each change is made.
pub(crate) const CHANGES: usize = 3;
/// Looks at the director over which an idle pilot is measured.
const LOOKS: u64 = 4;
/// Looks until one has nothing from before in it: within a second the pilot looks once more at what its agents have
/// accepted and reported, and each look asks for the events of the last six seconds.
const LOOKS_BACK: u64 = 8;
/// Every so many-th agent is stalled in a part: 5 %.
const STALLED: usize = 20;
/// Changes that stalled agents do not read.
const UNREAD: usize = 3;
/// Pilots that take less CPU time than this in a pause have nothing more to do.
const IDLE: Duration = Duration::from_millis(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Pilots with their director and their agents.
pub(crate) struct Course<'a> {
    pub(crate) site: Site,
    pub(crate) pilots: Vec<Pilot>,
    pub(crate) fleet: Rc<Fleet>,
    pub(crate) say: &'a dyn Fn(&str),
    figures: Vec<Figures>,
    /// The pilots' memory without agents.
    alone: u64,
    _agents: JoinSet<()>,
}

/// What is known at one moment.
pub(crate) struct Reading {
    pub(crate) at: Instant,
    cpu: Duration,
    down: u64,
    up: u64,
    told: u64,
    failures: u64,
}

/// Measures everything with one program.
pub(crate) async fn run(boshy: &Path, args: &Args, say: &dyn Fn(&str)) -> anyhow::Result<Vec<Figures>> {
    let authority = Authority::new();
    let host = Uri::from_static(NAME).host().unwrap_or_default().to_owned();
    let papers = (!args.plaintext).then(|| (authority.pilot(&host), authority.agent()));
    let site = Site::with(args.services)?;
    let pilot =
        |number| Pilot::new(boshy, &site.director, papers.as_ref().map(|(pilot, _)| pilot), (number, args.pilots));
    let pilots: Vec<_> = (0..args.pilots).map(pilot).collect::<Result<_, _>>()?;
    let addresses = [WITNESS_ADDRESS].into_iter().chain(site.addresses(args.proxies - 1)).collect();
    let tls = papers.as_ref().map(|(_, agent)| client(agent)).transpose()?;
    let fleet =
        Rc::new(Fleet::new(pilots.iter().map(|pilot| pilot.xds).collect(), (tls, !args.uncompressed), addresses));
    let _agents = agent::all_of(&fleet);
    let mut course = Course { site, pilots, fleet, say, figures: Vec::new(), alone: 0, _agents };
    course.begins().await?;
    match course.pilots.len() {
        1 => {
            course.with_one().await?;
            if let Some((papers, _)) = &papers {
                // The namespace has no names, so an agent's process knows the pilot by its address.
                authority.renew_pilot(papers, &course.pilots[0].xds.ip().to_string());
            }
            course.with_an_agent(boshy, papers.as_ref().map(|(_, agent)| agent)).await?;
        }
        _ => course.with_several().await?,
    }
    Ok(course.figures)
}

/// As an agent's process has it: no session is resumed that another agent has begun.
fn client(papers: &Papers) -> anyhow::Result<Arc<ClientConfig>> {
    let mut config = ClientConfig::clone(&*ClientTls::open(papers.client(), ALPN)?.of_files());
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

impl Course<'_> {
    /// The witness learns what all agents are told, and all agents are told it.
    async fn begins(&mut self) -> anyhow::Result<()> {
        (self.say)("the witness learns what all agents are told");
        self.starts().await?;
        self.fleet.expects(Awaited::everything(), |agent| agent == WITNESS);
        self.fleet.let_witness_in();
        self.fleet.done().await?;
        self.restarts().await?;

        (self.say)("first sync");
        self.first_sync().await
    }

    async fn with_one(&mut self) -> anyhow::Result<()> {
        (self.say)("nothing new");
        self.nothing_new().await?;
        (self.say)("changes");
        for _ in 0..CHANGES {
            self.one_instance_more("one instance more", |_| true).await?;
        }
        for _ in 0..CHANGES {
            self.one_service_more().await?;
        }
        self.deployment_deleted().await?;
        (self.say)("stalled agents");
        self.stalled().await?;
        (self.say)("reconnect");
        self.restarts().await?;
        self.reconnect().await
    }

    async fn starts(&mut self) -> anyhow::Result<()> {
        for pilot in &mut self.pilots {
            pilot.start(self.site.services()).await?;
        }
        self.settled().await?;
        self.alone = self.memory()?;
        Ok(())
    }

    /// Other processes of the pilots. Agents stay outside.
    pub(crate) async fn restarts(&mut self) -> anyhow::Result<()> {
        self.fleet.close().await;
        self.pilots.iter_mut().for_each(Pilot::kill);
        self.starts().await
    }

    async fn first_sync(&mut self) -> anyhow::Result<()> {
        self.fleet.expects(Awaited::everything(), |_| true);
        let begun = self.reading()?;
        self.fleet.let_new_ones_in();
        let figures = self.measured("first sync", &begun).await?;
        self.keep(figures)
    }

    async fn nothing_new(&mut self) -> anyhow::Result<()> {
        let begun = self.after_looks(LOOKS_BACK).await?;
        let ended = self.after_looks(LOOKS).await?;
        let cpu = (ended.cpu - begun.cpu) / LOOKS as u32;
        self.keep(Figures::of("a look that finds nothing new").cpu(cpu))
    }

    async fn after_looks(&self, count: u64) -> anyhow::Result<Reading> {
        let last = self.site.looks() + count;
        while self.site.looks() < last {
            sleep(Duration::from_millis(1)).await;
        }
        self.reading()
    }

    async fn one_instance_more(&mut self, work: &'static str, who: impl Fn(usize) -> bool) -> anyhow::Result<()> {
        let items = [Item::Set(ResourceType::Endpoints, endpoints_of(&Site::growing_host()))];
        self.change(work, Awaited::new(items), who, Site::grows).await
    }

    async fn one_service_more(&mut self) -> anyhow::Result<()> {
        let next = self.site.next_host();
        let named = Item::Set(ResourceType::Names, next.clone().into());
        let reached = [ResourceType::Cluster, ResourceType::Endpoints].map(|kind| Item::Set(kind, endpoints_of(&next)));
        // The listener has the virtual IP in its name, which the pilot chooses.
        let items = reached.into_iter().chain([named, Item::Any(ResourceType::Listener)]);
        self.change("one service more", Awaited::new(items), |_| true, Site::gains_a_service).await
    }

    async fn deployment_deleted(&mut self) -> anyhow::Result<()> {
        let mut items = Vec::new();
        for host in self.site.last_hosts() {
            let of_host = self.fleet.holdings().borrow().of_host(&host);
            let of_host = of_host.with_context(|| format!("agents were not told {host}"))?;
            items.extend(of_host.into_iter().map(|(kind, name)| Item::Removed(kind, name)));
        }
        self.change("a deployment of 20 services deleted", Awaited::new(items), |_| true, Site::loses_a_deployment)
            .await
    }

    /// The others are told as without them, and the pilot's memory does not grow.
    async fn stalled(&mut self) -> anyhow::Result<()> {
        self.fleet.stalled.send_replace(Some(STALLED));
        for _ in 0..UNREAD {
            self.one_instance_more("one instance more beside stalled agents", |agent| agent % STALLED != STALLED - 1)
                .await?;
        }
        // They were not read from, so they lack the last one.
        self.fleet.stalled.send_replace(None);
        self.settled().await?;
        Ok(())
    }

    async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.fleet.expects(Awaited::new([Item::Response]), |_| true);
        let begun = self.reading()?;
        self.fleet.let_in_again();
        let figures = self.measured("reconnect with nothing changed", &begun).await?;
        self.keep(figures)
    }

    /// Measures from the moment at which the pilot has read a change to the last answer of an agent.
    async fn change(
        &mut self,
        work: &'static str,
        awaited: Awaited,
        who: impl Fn(usize) -> bool,
        act: impl FnOnce(&mut Site) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.fleet.expects(awaited, who);
        let mut begun = self.reading()?;
        let mut readings = self.site.readings();
        act(&mut self.site)?;
        while !self.fleet.has_begun() {
            let now = self.site.readings();
            if now != readings {
                (readings, begun) = (now, self.reading()?);
            }
            sleep(Duration::from_millis(1)).await;
        }
        let figures = self.measured(work, &begun).await?;
        self.keep(figures)
    }

    /// The figures of what the fleet expects.
    pub(crate) async fn measured(&self, work: &'static str, begun: &Reading) -> anyhow::Result<Figures> {
        let (first, last) = self.fleet.done().await?;
        Ok(self.since(work, begun).await?.until(first - begun.at, last - begun.at))
    }

    /// The figures of what the pilots have done since then.
    pub(crate) async fn since(&self, work: &'static str, begun: &Reading) -> anyhow::Result<Figures> {
        let ended = self.settled().await?;
        let again = ended.failures - begun.failures;
        if again > 0 {
            (self.say)(&format!("{again} connections failed; of all so far {}", self.fleet.reasons()));
        }
        let each = |from: u64, to: u64| (to - from) as f64 / self.fleet.size() as f64;
        Ok(Figures::of(work)
            .cpu(ended.cpu - begun.cpu)
            .traffic(each(begun.down, ended.down), each(begun.up, ended.up), each(begun.told, ended.told))
            .again(again))
    }

    pub(crate) fn keep(&mut self, figures: Figures) -> anyhow::Result<()> {
        let memory = self.memory()?;
        let added = memory as f64 - self.alone as f64;
        self.figures.push(figures.memory(memory).memory_per_proxy(added / self.fleet.size() as f64));
        Ok(())
    }

    /// Figures that are not the pilots'.
    pub(crate) fn note(&mut self, figures: Figures) {
        self.figures.push(figures);
    }

    fn memory(&self) -> anyhow::Result<u64> {
        self.pilots.iter().map(Pilot::memory).sum()
    }

    /// Waits until the pilots have nothing more to do.
    async fn settled(&self) -> anyhow::Result<Reading> {
        let mut before = self.reading()?;
        loop {
            sleep(PAUSE).await;
            let now = self.reading()?;
            if now.cpu - before.cpu < IDLE {
                return Ok(now);
            }
            before = now;
        }
    }

    pub(crate) fn reading(&self) -> anyhow::Result<Reading> {
        Ok(Reading {
            at: Instant::now(),
            cpu: self.pilots.iter().map(Pilot::cpu).sum::<anyhow::Result<_>>()?,
            down: self.fleet.traffic.down.get(),
            up: self.fleet.traffic.up.get(),
            told: self.fleet.resources(),
            failures: self.fleet.failures(),
        })
    }
}

/// The name of the cluster of a service's port, and of its endpoints.
fn endpoints_of(host: &str) -> Bytes {
    format!("out.{host}|http").into()
}
