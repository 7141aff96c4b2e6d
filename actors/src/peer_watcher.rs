//! Finds instances that have vanished while Envoy has unacknowledged data to them, and ends the connections
//! (`boshy_netfilter::DeadPeers`).
//!
//! Without the privilege, or on a kernel without support, such a connection ends like a direct one, after a quarter of
//! an hour; that is reported.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use boshy_netfilter::{DeadPeers, DeadPeersError, Ended};
use boshy_supervision::Heart;
use err_report::Report;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

/// Each check lists all connections of the VM: 50 ms for 60,000, which are 20,000 through Envoy.
const PERIOD: Duration = Duration::from_secs(5);
/// Number of peers that are named.
const SHOWN: usize = 10;

/// Why connections cannot be ended, and the remedy.
pub(crate) type Trouble = Option<(String, &'static str)>;

/// Configuration and channels of the watcher; they outlive the task.
#[derive(Clone)]
pub(crate) struct PeerWatcherParts {
    /// How long a peer may leave transmissions unanswered; `None` leaves it to the kernel.
    pub(crate) timeout: Option<Duration>,
    /// This task is the only writer.
    pub(crate) trouble: Arc<ArcSwap<Trouble>>,
}

/// Checks once per period, forever. It blocks, so it belongs on a thread of its own.
pub(crate) async fn watch_peers(parts: PeerWatcherParts, heart: Heart) {
    let Some(timeout) = parts.timeout else { return heart.rest(std::future::pending()).await };
    let mut periods = interval(PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut peers = None;
    loop {
        periods.tick().await;
        heart.beat();
        let trouble = match look(&mut peers, timeout) {
            Ok(ended) => {
                tell(&ended);
                None
            }
            Err(error) => {
                peers = None;
                Some((Report::new(&error).to_string(), error.remedy()))
            }
        };
        if **parts.trouble.load() != trouble {
            parts.trouble.store(Arc::new(trouble));
        }
    }
}

fn look(peers: &mut Option<DeadPeers>, timeout: Duration) -> Result<Ended, DeadPeersError> {
    let peers = match peers {
        Some(peers) => peers,
        none => none.insert(DeadPeers::open()?),
    };
    peers.end(timeout)
}

fn tell(ended: &Ended) {
    if ended.connections > 0 {
        let peers: Vec<String> = ended.peers.iter().take(SHOWN).map(ToString::to_string).collect();
        info!(
            connections = ended.connections,
            peers = peers.join(" "),
            "ended connections to instances that do not answer any more"
        );
    }
}
