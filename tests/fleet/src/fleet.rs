//! What all agents share: the way to the pilot, who may connect, what they hold and wait for, and their traffic.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::bail;
use boshy_mesh::NodeId;
use boshy_xds::ResourceType;
use rustls::ClientConfig;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{
    awaited::Awaited,
    holdings::{Holdings, Opening, WITNESS},
    socket::Traffic,
    wire::Response,
};

/// How long agents may take for what is expected of them.
const PATIENCE: Duration = Duration::from_secs(600);

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
    pub(crate) pilot: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) traffic: Rc<Traffic>,
    pub(crate) door: watch::Sender<Door>,
    /// Every so many-th agent does not read while this is set.
    pub(crate) stalled: watch::Sender<Option<usize>>,
    addresses: Vec<Ipv4Addr>,
    holdings: RefCell<Holdings>,
    wait: RefCell<Wait>,
    done: Notify,
    /// Connections that failed or ended while the door was open, and why the last one did.
    failures: RefCell<(u64, String)>,
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
    pub(crate) fn new(pilot: SocketAddr, tls: Option<Arc<ClientConfig>>, addresses: Vec<Ipv4Addr>) -> Self {
        Self {
            pilot,
            tls,
            traffic: Rc::default(),
            door: watch::Sender::new(Door::Closed),
            stalled: watch::Sender::new(None),
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
        NodeId::sidecar(IpAddr::V4(self.addresses[agent]), &format!("vm{agent}"), "fleet")
    }

    /// The witness connects, as one that holds nothing.
    pub(crate) fn let_witness_in(&self) {
        self.door.send_replace(Door::Ajar(Rc::new(Holdings::opening())));
    }

    /// All connect at once, as agents that hold nothing.
    pub(crate) fn let_new_ones_in(&self) {
        self.door.send_replace(Door::Open(Rc::new(Holdings::opening())));
    }

    /// All connect at once, as agents that hold what they were told.
    pub(crate) fn let_in_again(&self) {
        let opening = Rc::new(self.holdings.borrow().resuming());
        self.door.send_replace(Door::Open(opening));
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        self.door.send_replace(Door::Closed);
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
        self.failures.borrow().0
    }

    /// Why the last one did.
    pub(crate) fn last_failure(&self) -> String {
        self.failures.borrow().1.clone()
    }

    pub(crate) fn has_failed(&self, why: String) {
        let mut failures = self.failures.borrow_mut();
        *failures = (failures.0 + 1, why);
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
            _ => bail!("{} agents wait in vain; the last failure: {:?}", wait.waiting, self.failures.borrow().1),
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
