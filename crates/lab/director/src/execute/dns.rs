//! Sends `records.json` to the VMs that lack the latest version.

use std::time::Duration;

use futures::future::join_all;

use super::Executor;

/// Time for one agent to answer (director: `dns.broadcast` timeout).
const PATIENCE: Duration = Duration::from_secs(10);

impl Executor {
    /// Sends the latest records to every VM that lacks them. A VM that does not answer is tried again later.
    pub(super) async fn sync_dns(&self) {
        let (version, text, behind) = self.shared.with(|director| director.world.behind());
        let sync = |cid: String| {
            let order = self.infrastructure.sync_dns(&cid, text.clone());
            async move {
                match tokio::time::timeout(PATIENCE, order).await {
                    Ok(Ok(())) => self.shared.with(|director| {
                        director.world.touch_vm(&cid, |facts| facts.dns = facts.dns.max(version));
                    }),
                    Ok(Err(error)) => tracing::warn!(%cid, %error, "DNS records were not taken"),
                    Err(_) => tracing::warn!(%cid, "an agent does not answer, DNS records are sent again later"),
                }
            }
        };
        join_all(behind.into_iter().map(sync)).await;
    }
}
