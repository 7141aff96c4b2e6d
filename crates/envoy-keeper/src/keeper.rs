//! The loop: what happens, and what is done about it.

use std::{future::pending, io, mem, path::PathBuf, pin::Pin, process::ExitStatus, time::Duration};

use boshy_backoff::Falls;
use boshy_tunnel_end::TunnelEnd;
use err_report::Report;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    End, KeepError, KeeperParts,
    admin::{Admin, quiet},
    agent,
    envoy::{Envoy, Slot},
    front, overlap,
};

/// Keeps Envoy, and serves the settled addresses and the end of tunnels.
pub(crate) async fn run(mut parts: KeeperParts) -> Result<End, KeepError> {
    let signals = Signals::new().map_err(KeepError::Prepare)?;
    let tunnels = tunnels(&mut parts);
    let (admin, health) = (watch::Sender::new(None), watch::Sender::new(None));
    let fronts = {
        let (address, path) = (parts.admin, parts.health_socket.clone());
        let (to_admin, to_health) = (admin.subscribe(), health.subscribe());
        async move {
            let health = async {
                match path {
                    Some(path) => front::serve_unix(&path, to_health).await,
                    None => pending().await,
                }
            };
            tokio::join!(front::serve_tcp(address, to_admin), health)
        }
    };
    let current = Envoy::start(&parts, Slot::Zero)?;
    let falls = Falls::new(parts.backoff);
    let mut keeper = Keeper { parts, current, coming: None, leaving: None, falls, admin, health };
    keeper.shows_current();
    tokio::select! {
        end = keeper.keeps(signals) => end,
        _ = fronts => unreachable!("they are served for ever"),
        () = tunnels => unreachable!("they are served for ever"),
    }
}

/// Starts the end of tunnels and serves it, for ever. Where it cannot be bound, Envoys do without.
fn tunnels(parts: &mut KeeperParts) -> impl Future<Output = ()> + use<> {
    let started = parts.tunnel_end.as_ref().and_then(|end| {
        let failed =
            |error: &io::Error| warn!(error = Report::new(error).to_string(), "the end of tunnels has no socket");
        TunnelEnd::start(end).inspect_err(failed).ok()
    });
    if started.is_none() {
        parts.tunnel_end = None;
    }
    async {
        match started {
            Some(end) => end.serve().await,
            None => pending().await,
        }
    }
}

type Settles = Pin<Box<dyn Future<Output = bool>>>;
type Quiets = Pin<Box<dyn Future<Output = ()>>>;

struct Keeper {
    parts: KeeperParts,
    current: Envoy,
    /// The Envoy that will be the current one, and whether it can be so.
    coming: Option<(Envoy, Settles)>,
    /// The Envoy that was the current one, and the end of its connections.
    leaving: Option<(Envoy, Quiets)>,
    falls: Falls,
    /// Sockets to which the settled addresses lead.
    admin: watch::Sender<Option<PathBuf>>,
    health: watch::Sender<Option<PathBuf>>,
}

/// What happens.
enum Event {
    Told(Order),
    Fell(io::Result<ExitStatus>),
    /// The coming Envoy is as good as the current one, or will not be.
    Settled(bool),
    /// The leaving Envoy has no connection any more, or has had its time, or has ended.
    Left,
}

#[derive(Clone, Copy)]
enum Order {
    Stop,
    Overlap,
}

impl Keeper {
    async fn keeps(&mut self, mut signals: Signals) -> Result<End, KeepError> {
        loop {
            match self.next(&mut signals).await {
                Event::Told(Order::Stop) => {
                    self.stops().await?;
                    return Ok(End::Told);
                }
                Event::Told(Order::Overlap) => self.begins_overlap()?,
                Event::Settled(true) => self.changes_over().await,
                Event::Settled(false) => self.gives_up_overlap().await?,
                Event::Left => self.ends_leaving().await?,
                Event::Fell(status) => {
                    let status = status.map_err(KeepError::Wait)?;
                    if let Some(end) = self.replaces_fallen(status, &mut signals).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    async fn next(&mut self, signals: &mut Signals) -> Event {
        tokio::select! {
            order = signals.next() => Event::Told(order),
            status = self.current.ended() => Event::Fell(status),
            settled = settled(self.coming.as_mut()) => Event::Settled(settled),
            () = left(self.leaving.as_mut()) => Event::Left,
        }
    }

    /// Lets the settled addresses lead to the current Envoy.
    fn shows_current(&self) {
        self.admin.send_replace(self.current.sockets.admin.clone());
        self.health.send_replace(self.current.sockets.health.clone());
    }

    /// Starts Envoy again. Returns how the parent ends instead: it was told to, or there were too many crashes.
    async fn replaces_fallen(&mut self, status: ExitStatus, signals: &mut Signals) -> Result<Option<End>, KeepError> {
        let fallen = self.current.slot;
        if let Some((coming, _)) = self.coming.take() {
            warn!(%status, "Envoy fell, and the one that was coming takes its place");
            self.current = coming;
            self.shows_current();
            return Ok(None);
        }
        let Some(pause) = self.falls.after(self.current.life()) else {
            warn!(%status, "Envoy fell too often");
            self.stops().await?;
            return Ok(Some(End::GaveUp));
        };
        warn!(%status, ?pause, "Envoy fell and is started again");
        if !pause.is_zero() && told_to_stop(signals, pause).await {
            self.stops().await?;
            return Ok(Some(End::Told));
        }
        self.current = Envoy::start(&self.parts, fallen)?;
        self.shows_current();
        Ok(None)
    }

    fn begins_overlap(&mut self) -> Result<(), KeepError> {
        if self.coming.is_some() || self.leaving.is_some() {
            warn!("told to replace Envoy, which is being done already");
            return Ok(());
        }
        let coming = Envoy::start(&self.parts, self.current.slot.other())?;
        let settles: Settles = match (self.current.admin(), coming.admin()) {
            (Some(first), Some(second)) => Box::pin(overlap::settled(first, second)),
            // Without an admin interface nobody can see when the second may take over.
            _ => Box::pin(async { false }),
        };
        self.coming = Some((coming, settles));
        Ok(())
    }

    async fn changes_over(&mut self) {
        let Some((coming, _)) = self.coming.take() else { return };
        let leaving = mem::replace(&mut self.current, coming);
        self.shows_current();
        let admin = leaving.admin();
        let bound = match &admin {
            Some(admin) if admin.drains().await => self.parts.overlap_timeout,
            // It would go on accepting.
            _ => Duration::ZERO,
        };
        info!(?bound, "the new Envoy accepts connections, the old one ends with its last");
        self.leaving = Some((leaving, Box::pin(async move { quiet(admin.as_slice(), bound).await })));
    }

    async fn gives_up_overlap(&mut self) -> Result<(), KeepError> {
        warn!("the new Envoy did not get what the old one has, and ends; the old one goes on");
        match self.coming.take() {
            Some((mut coming, _)) => coming.end().await,
            None => Ok(()),
        }
    }

    async fn ends_leaving(&mut self) -> Result<(), KeepError> {
        let Some((mut leaving, _)) = self.leaving.take() else { return Ok(()) };
        leaving.end().await?;
        info!("the old Envoy has ended");
        Ok(())
    }

    /// Tells the agent, sends callers of other VMs elsewhere, waits for open connections, and ends every Envoy.
    async fn stops(&mut self) -> Result<(), KeepError> {
        let coming = self.coming.take().map(|(envoy, _)| envoy);
        let leaving = self.leaving.take().map(|(envoy, _)| envoy);
        let others: Vec<Envoy> = coming.into_iter().chain(leaving).collect();
        let admins: Vec<Admin> = [&self.current].into_iter().chain(&others).filter_map(Envoy::admin).collect();
        let bound = self.parts.stop_timeout;
        let agent = self.parts.agent_socket.as_deref();
        let quiets = async {
            // First, so that nobody is led to listeners that are closed.
            if let Some(agent) = agent {
                agent::hears_of_the_stop(agent).await;
            }
            for admin in &admins {
                if !admin.drains_inbound().await {
                    warn!("an Envoy does not answer, and accepts other VMs until it ends");
                }
            }
            quiet(&admins, bound).await;
        };
        // An Envoy that does not answer must not make the stop longer.
        let _ = timeout(bound, quiets).await;
        for mut envoy in others {
            envoy.end().await?;
        }
        self.current.end().await
    }
}

/// Whether the coming Envoy can take over; waits for ever when none is coming. One that has ended cannot.
async fn settled(coming: Option<&mut (Envoy, Settles)>) -> bool {
    let Some((envoy, settles)) = coming else { return pending().await };
    tokio::select! {
        settled = settles => settled,
        _ = envoy.ended() => false,
    }
}

/// Waits until the leaving Envoy may end; for ever when none is leaving.
async fn left(leaving: Option<&mut (Envoy, Quiets)>) {
    let Some((envoy, quiets)) = leaving else { return pending().await };
    tokio::select! {
        () = quiets => {}
        _ = envoy.ended() => {}
    }
}

/// Whether an order to stop arrives during this pause.
async fn told_to_stop(signals: &mut Signals, pause: Duration) -> bool {
    tokio::select! {
        () = async { while let Order::Overlap = signals.next().await {} } => true,
        () = sleep(pause) => false,
    }
}

/// The signals that are orders.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next order. Nothing is lost when the wait is given up.
    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.hang_up.recv() => Order::Overlap,
        }
    }
}
