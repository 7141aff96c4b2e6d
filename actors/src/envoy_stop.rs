//! The stop of this VM's Envoy alone, of which its parent tells beforehand: captured ports that are open without Envoy are
//! let go before it closes its listeners.
//!
//! ```text
//!   boshy envoy ──> EnvoyStop ── told ──> NetfilterWriter ──> kernel
//!                       ^────── heeded ──────┘
//! ```
//!
//! It holds until another stream opens: that is the next Envoy's.

use std::{sync::Arc, time::Duration};

use boshy_netfilter::Pairs;
use boshy_web::envoy_stop::{Noticed, TakeNotice, TakingNotice};
use boshy_xds::AckStates;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// How long the rules are waited for. They take less than a millisecond, unless they cannot be written.
const LONGEST: Duration = Duration::from_secs(1);
/// From the change of the rules until Envoy has accepted the connections that they have led to it: the handshake of a
/// caller from afar.
const SETTLE: Duration = Duration::from_millis(500);

/// See the module's documentation. Clones share the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct EnvoyStop {
    told: watch::Sender<Told>,
    /// The latest order that is in the rules, by `netfilter_writer`.
    heeded: watch::Sender<u64>,
}

/// What the parent of Envoy has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// How often it has told of a stop.
    pub(crate) order: u64,
    /// How many streams had opened by then.
    streams: u64,
}

impl Told {
    /// Whether the Envoy that is connected is the one that stops, when so many streams have opened.
    pub(crate) fn is_about_the_latest_of(self, streams: u64) -> bool {
        self.order > 0 && self.streams == streams
    }
}

impl EnvoyStop {
    /// What the parent of Envoy may tell.
    pub(crate) fn at_desk(&self, answers: AckStates, captured: watch::Receiver<Arc<Pairs>>) -> TakeNotice {
        let this = self.clone();
        TakeNotice(Arc::new(move || -> TakingNotice {
            let (this, streams, captured) = (this.clone(), answers.opened(), captured.clone());
            Box::pin(async move { this.take_notice(streams, &captured).await })
        }))
    }

    /// What was told, and later changes.
    pub(crate) fn told(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// The rules are as this order wants them.
    pub(crate) fn heed(&self, order: u64) {
        self.heeded.send_replace(order);
    }

    /// Lets open ports go, and waits until Envoy has what was on its way to it.
    async fn take_notice(&self, streams: u64, captured: &watch::Receiver<Arc<Pairs>>) -> Noticed {
        let before = captured.borrow().len();
        self.told.send_modify(|told| *told = Told { order: told.order + 1, streams });
        let order = self.told.borrow().order;
        if before == 0 {
            return Noticed { let_go: 0 };
        }
        let mut heeded = self.heeded.subscribe();
        if timeout(LONGEST, heeded.wait_for(|heeded| *heeded >= order)).await.is_err() {
            warn!("Envoy stops, and the rules that lead to it cannot be changed in time");
        }
        let let_go = before.saturating_sub(captured.borrow().len());
        if let_go > 0 {
            info!(let_go, "Envoy stops, and callers of captured ports reach programs directly");
            sleep(SETTLE).await;
        }
        Noticed { let_go }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn pairs(count: u16) -> Arc<Pairs> {
        Arc::new((0..count).map(|port| format!("10.0.0.5:{}", 9000 + port).parse().unwrap()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_rules_and_then_for_callers_on_their_way_to_envoy() {
        let (stop, captured) = (EnvoyStop::default(), watch::Sender::new(pairs(3)));
        let notice = tokio::spawn({
            let (stop, captured) = (stop.clone(), captured.subscribe());
            async move { stop.take_notice(4, &captured).await }
        });
        let told = *stop.told().wait_for(|told| told.is_about_the_latest_of(4)).await.unwrap();
        assert!(!told.is_about_the_latest_of(5), "the next Envoy has connected");
        sleep(LONGEST / 2).await;
        assert!(!notice.is_finished());
        captured.send_replace(pairs(1));
        let heeded = Instant::now();
        stop.heed(told.order);
        assert_eq!(notice.await.unwrap(), Noticed { let_go: 2 });
        assert!(heeded.elapsed() >= SETTLE, "{:?}", heeded.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_nobody_where_nothing_is_let_go() {
        let (stop, began) = (EnvoyStop::default(), Instant::now());
        let none = watch::Sender::new(pairs(0));
        assert_eq!(stop.take_notice(1, &none.subscribe()).await, Noticed { let_go: 0 });
        let closed = watch::Sender::new(pairs(1));
        stop.heed(2);
        assert_eq!(stop.take_notice(1, &closed.subscribe()).await, Noticed { let_go: 0 });
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn rules_that_cannot_be_written_cost_their_time_and_no_more() {
        let (captured, began) = (watch::Sender::new(pairs(1)), Instant::now());
        let noticed = EnvoyStop::default().take_notice(1, &captured.subscribe()).await;
        assert_eq!((noticed.let_go, began.elapsed()), (0, LONGEST));
    }
}
