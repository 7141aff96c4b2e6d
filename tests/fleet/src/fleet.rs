//! What all agents share: the way to the pilots, who may connect, what they hold and wait for, and their traffic.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;
use boshy_mesh::NodeId;
use boshy_xds::{ResourceType, agent::Spread};
use rustls::ClientConfig;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::timeout,
};

use crate::{
    awaited::Awaited,
    gzip::Decompression,
    holdings::{Holdings, Opening, WITNESS},
    socket::Traffic,
    wire::Response,
};

/// How long agents may take for what is expected of them.
const PATIENCE: Duration = Duration::from_secs(600);

/// How many agents open a stream at the same time, once they are connected. An agent has a processor of its own and goes
/// on at once with what it has begun; these have one together.
const TURNS: usize = 64;

/// Who may have a connection.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    Closed,
    /// The witness alone.
    Ajar(Rc<Opening>),
    Open(Rc<Opening>),
}

/// See the module's documentation.
pub(crate) struct Fleet {
    /// The addresses of the pilots' name.
    pub(crate) pilots: Vec<SocketAddr>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Whether agents accept compressed messages.
    pub(crate) gzip: bool,
    pub(crate) decompression: Decompression,
    pub(crate) traffic: Rc<Traffic>,
    pub(crate) door: watch::Sender<Door>,
    /// For those that open streams.
    pub(crate) turns: Semaphore,
    /// Agents that have come in.
    inside: watch::Sender<usize>,
    /// Every so many-th agent does not read while this is set.
    pub(crate) stalled: watch::Sender<Option<usize>>,
    addresses: Vec<Ipv4Addr>,
    /// The pilot of each agent's stream.
    streams: RefCell<Vec<Option<SocketAddr>>>,
    holdings: RefCell<Holdings>,
    wait: RefCell<Wait>,
    done: Notify,
    /// Connections that failed or ended while the door was open, by the reason.
    failures: RefCell<BTreeMap<String, u64>>,
    resources: Cell<u64>,
}

/// What agents are still to be told.
#[derive(Default)]
struct Wait {
    awaited: Awaited,
    left: Vec<u128>,
    waiting: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Fleet {
    /// Agents at these addresses, of which the first one's VM provides no service.
    pub(crate) fn new(
        pilots: Vec<SocketAddr>,
        (tls, gzip): (Option<Arc<ClientConfig>>, bool),
        addresses: Vec<Ipv4Addr>,
    ) -> Self {
        Self {
            pilots,
            tls,
            gzip,
            decompression: Decompression::default(),
            traffic: Rc::default(),
            door: watch::Sender::new(Door::Closed),
            turns: Semaphore::new(TURNS),
            inside: watch::Sender::new(0),
            stalled: watch::Sender::new(None),
            streams: RefCell::new(vec![None; addresses.len()]),
            holdings: RefCell::new(Holdings::of(addresses.len())),
            addresses,
            wait: RefCell::default(),
            done: Notify::new(),
            failures: RefCell::default(),
            resources: Cell::new(0),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.addresses.len()
    }

    pub(crate) fn address(&self, agent: usize) -> Ipv4Addr {
        self.addresses[agent]
    }

    pub(crate) fn node(&self, agent: usize) -> NodeId {
        NodeId::sidecar(IpAddr::V4(self.addresses[agent]), &instance(agent), "fleet")
    }

    /// In which order this agent prefers the pilots.
    #[expect(clippy::unused_self, reason = "what an agent is, the fleet says")]
    pub(crate) fn spread(&self, agent: usize) -> Spread {
        Spread::of(&instance(agent))
    }

    /// The pilot that this agent prefers.
    pub(crate) fn prefers(&self, agent: usize) -> Option<SocketAddr> {
        self.spread(agent).ordered(self.pilots.iter().copied()).first().copied()
    }

    /// The pilot of this agent's stream.
    pub(crate) fn pilot_of(&self, agent: usize) -> Option<SocketAddr> {
        self.streams.borrow()[agent]
    }

    /// How many streams each pilot has.
    pub(crate) fn agents_of_each(&self) -> BTreeMap<SocketAddr, usize> {
        let mut of_each: BTreeMap<_, _> = self.pilots.iter().map(|pilot| (*pilot, 0)).collect();
        for pilot in self.streams.borrow().iter().flatten() {
            *of_each.entry(*pilot).or_default() += 1;
        }
        of_each
    }

    /// This agent has a stream to this pilot until the value is dropped.
    pub(crate) fn enters(&self, agent: usize, pilot: SocketAddr) -> Stay<'_> {
        self.streams.borrow_mut()[agent] = Some(pilot);
        Stay { fleet: self, agent }
    }

    /// The witness connects, as one that holds nothing.
    pub(crate) fn let_witness_in(&self) {
        self.door.send_replace(Door::Ajar(Rc::new(Holdings::opening())));
    }

    /// All connect at once, as agents that hold nothing.
    pub(crate) fn let_new_ones_in(&self) {
        self.door.send_replace(Door::Open(Rc::new(Holdings::opening())));
    }

    /// All connect at once, as agents that hold what they were told. Those that are connected stay so, and resume their
    /// next streams.
    pub(crate) fn let_in_again(&self) {
        let opening = Rc::new(self.holdings.borrow().resuming());
        self.door.send_replace(Door::Open(opening));
    }

    /// Ends all connections, and returns when they have ended.
    pub(crate) async fn close(&self) {
        self.door.send_replace(Door::Closed);
        let _ = self.inside.subscribe().wait_for(|inside| *inside == 0).await;
    }

    /// An agent that may have a connection has come in, and has left when the value is dropped.
    pub(crate) fn comes_in(&self) -> Inside<'_> {
        self.inside.send_modify(|inside| *inside += 1);
        Inside(self)
    }

    pub(crate) fn holdings(&self) -> &RefCell<Holdings> {
        &self.holdings
    }

    /// Resources that agents were told.
    pub(crate) fn resources(&self) -> u64 {
        self.resources.get()
    }

    /// Connections that failed or ended without being told to.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.borrow().values().sum()
    }

    /// How many did for each reason so far.
    pub(crate) fn reasons(&self) -> String {
        let failures = self.failures.borrow();
        failures.iter().map(|(why, count)| format!("{count} times: {why}")).collect::<Vec<_>>().join("; ")
    }

    pub(crate) fn has_failed(&self, why: String) {
        *self.failures.borrow_mut().entry(why).or_default() += 1;
    }

    /// Begins to wait for what these agents are to be told.
    pub(crate) fn expects(&self, awaited: Awaited, who: impl Fn(usize) -> bool) {
        let all = awaited.all();
        let left: Vec<u128> = (0..self.size()).map(|agent| if who(agent) { all } else { 0 }).collect();
        let waiting = left.iter().filter(|left| **left != 0).count();
        *self.wait.borrow_mut() = Wait { awaited, left, waiting, first: None, last: None };
    }

    /// Whether one of them was told something of it.
    pub(crate) fn has_begun(&self) -> bool {
        self.wait.borrow().first.is_some()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.wait.borrow().waiting == 0
    }

    /// Returns when the first one was told something of it, and when the last one was told all of it.
    pub(crate) async fn done(&self) -> anyhow::Result<(Instant, Instant)> {
        let all = async {
            while !self.is_done() {
                self.done.notified().await;
            }
        };
        let in_time = timeout(PATIENCE, all).await.is_ok();
        let wait = self.wait.borrow();
        match (wait.first, wait.last) {
            (Some(first), Some(last)) if in_time => Ok((first, last)),
            _ => bail!("{} agents wait in vain; failures: {}", wait.waiting, self.reasons()),
        }
    }

    /// An agent has heard a response and answers it.
    pub(crate) fn hears(
        &self,
        agent: usize,
        kind: ResourceType,
        response: &Response,
        octets: &[u8],
    ) -> anyhow::Result<()> {
        self.resources.update(|resources| resources + response.resources.len() as u64);
        self.holdings.borrow_mut().take(agent, kind, response, octets)?;
        let mut wait = self.wait.borrow_mut();
        let met = wait.left.get(agent).map_or(0, |left| left & wait.awaited.met_by(kind, response));
        if met != 0 {
            let now = Instant::now();
            wait.first.get_or_insert(now);
            wait.left[agent] &= !met;
            if wait.left[agent] == 0 {
                wait.waiting -= 1;
                wait.last = Some(now);
                if wait.waiting == 0 {
                    self.done.notify_one();
                }
            }
        }
        Ok(())
    }
}

/// A stream of an agent.
pub(crate) struct Stay<'f> {
    fleet: &'f Fleet,
    agent: usize,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.fleet.streams.borrow_mut()[self.agent] = None;
    }
}

/// An agent that has come in.
pub(crate) struct Inside<'f>(&'f Fleet);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.send_modify(|inside| *inside -= 1);
    }
}

/// The id of an agent's instance.
fn instance(agent: usize) -> String {
    format!("vm{agent}")
}

impl Door {
    /// How this agent opens its stream; `None` while it may not.
    pub(crate) fn opening(&self, agent: usize) -> Option<Rc<Opening>> {
        match self {
            Self::Open(opening) => Some(Rc::clone(opening)),
            Self::Ajar(opening) if agent == WITNESS => Some(Rc::clone(opening)),
            Self::Ajar(_) | Self::Closed => None,
        }
    }
}
