//! Envoy's admin interface, as far as its parent uses it.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use boshy_http_client::{send_to_socket, whole};
use http::{Method, Request, StatusCode};
use tokio::time::{sleep, timeout};

/// Longest time of one request.
const LONGEST: Duration = Duration::from_secs(2);
const LARGEST_ANSWER: usize = 64 << 20;
/// Interval of looks at the connections.
const PERIOD: Duration = Duration::from_millis(200);
/// Looks in a row without a connection after which none is expected any more: programs that are told to end at about the
/// same time may ask the mesh once more.
const QUIET_LOOKS: u32 = 5;
/// Statistics that count connections: those that wait for their instance, and those that have it. A connection in a
/// tunnel counts, the tunnel itself does not. Of the other statistics of clusters none ends like this.
const CONNECTIONS: &str = "/stats?filter=upstream_rq(_pending)?_active$";
/// Statistics of the connection to the agent, which is always open.
const AGENT: &str = "cluster.ads.";

/// The admin interface of one Envoy.
#[derive(Clone, Debug)]
pub(crate) struct Admin(pub(crate) PathBuf);

impl Admin {
    async fn ask(&self, method: Method, path: &str) -> Option<(StatusCode, String)> {
        let request = Request::builder().method(method).uri(path).body(whole("")).ok()?;
        let answer = timeout(LONGEST, send_to_socket(&self.0, request, LARGEST_ANSWER)).await.ok()?.ok()?;
        Some((answer.status(), String::from_utf8_lossy(answer.body()).into_owned()))
    }

    async fn get(&self, path: &str) -> Option<String> {
        let (status, body) = self.ask(Method::GET, path).await?;
        status.is_success().then_some(body)
    }

    /// Whether Envoy has its first configuration and its workers run.
    pub(crate) async fn is_live(&self) -> bool {
        self.get("/ready").await.is_some()
    }

    /// Names of the active listeners; `None` without an answer.
    pub(crate) async fn listeners(&self) -> Option<BTreeSet<String>> {
        Some(listeners(&self.get("/listeners").await?))
    }

    /// Number of open connections through Envoy. One that does not answer is taken to have none: it has ended, or
    /// serves nobody.
    async fn open_connections(&self) -> u64 {
        self.get(CONNECTIONS).await.map_or(0, |statistics| open_connections(&statistics))
    }

    /// Makes Envoy stop accepting connections, and ask for new ones where HTTP/2 connections are shared. Open
    /// connections live on. Returns whether Envoy has accepted the order.
    pub(crate) async fn drains(&self) -> bool {
        self.drains_listeners(["", "?graceful"]).await
    }

    /// The same for what other VMs open. Programs of this VM are still served.
    pub(crate) async fn drains_inbound(&self) -> bool {
        self.drains_listeners(["?inboundonly", "?graceful&inboundonly"]).await
    }

    /// Without the first order, listeners would be open until the time to drain is over. The second begins that time, in
    /// which Envoy sends GOAWAY.
    async fn drains_listeners(&self, [closed, graceful]: [&str; 2]) -> bool {
        let drained = self.ask(Method::POST, &format!("/drain_listeners{closed}")).await;
        self.ask(Method::POST, &format!("/drain_listeners{graceful}")).await;
        drained.is_some_and(|(status, _)| status.is_success())
    }
}

/// Waits until no connection goes through these Envoys, or for this time.
pub(crate) async fn quiet(envoys: &[Admin], bound: Duration) {
    let deadline = Instant::now() + bound;
    let mut looks = 0;
    while looks < QUIET_LOOKS && Instant::now() < deadline {
        let mut open = 0;
        for envoy in envoys {
            open += envoy.open_connections().await;
        }
        looks = if open == 0 { looks + 1 } else { 0 };
        sleep(PERIOD).await;
    }
}

/// Lines are `NAME::ADDRESS`.
fn listeners(answer: &str) -> BTreeSet<String> {
    answer.lines().filter_map(|line| line.split_once("::")).map(|(name, _)| name.to_owned()).collect()
}

/// Lines are `NAME: NUMBER`.
fn open_connections(statistics: &str) -> u64 {
    let of_programs = statistics.lines().filter(|line| !line.starts_with(AGENT));
    of_programs.filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_those_of_programs_that_wait_or_are_connected() {
        let statistics = "cluster.ads.upstream_rq_active: 1\ncluster.out.a.b|http.upstream_rq_active: 2\n\
                          cluster.out.a.b|http.upstream_rq_pending_active: 3\n";
        assert_eq!(open_connections(statistics), 5);
        assert_eq!(open_connections("no statistics"), 0);
    }

    #[test]
    fn a_listener_is_known_by_its_name_wherever_it_listens() {
        let names = listeners("virtual::127.0.0.1:15001\nhealth::/run/health-0.sock\n");
        assert_eq!(names, ["health", "virtual"].map(str::to_owned).into());
    }
}
