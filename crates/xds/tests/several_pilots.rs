//! Many agents on three pilots, one of which is killed and comes back, in one process with real sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

#[path = "support/exchange.rs"]
mod exchange;
#[path = "support/mesh.rs"]
mod mesh;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use boshy_backoff::Backoff;
use boshy_xds::{
    AckStates, AdsService, CAPTURE, MeshSource, Proxies, ResourceType,
    agent::{
        self, Exchange, ExchangeSettings, Outlets, PickerSettings,
        relay::{Relay, RelaySettings, Stored},
    },
};
use tokio::{
    net::TcpSocket,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

const AGENTS: usize = 200;
const SERVICES: u8 = 20;
const PILOTS: usize = 3;

struct Pilot {
    address: SocketAddr,
    proxies: Proxies,
    /// Dropping it kills the pilot: its sockets close.
    task: JoinSet<()>,
}

impl Pilot {
    fn start(at: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(at.parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let services: Vec<_> =
            (0..SERVICES).map(|number| mesh::service(&format!("s{number}"), number, &[None])).collect();
        let (published, snapshots) = watch::channel(Arc::new(mesh::snapshot(1, &services)));
        let proxies = Proxies::default();
        let service = AdsService::new(MeshSource::new(snapshots, CAPTURE), proxies.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let _published = published;
            service.serve_tcp(listener, std::future::pending()).await.unwrap();
        });
        Self { address, proxies, task }
    }

    fn agents(&self) -> usize {
        self.proxies.list().len()
    }

    async fn kill(&mut self) {
        self.task.shutdown().await;
    }
}

/// An agent without an Envoy and without services of its own, which prefers the pilot with its number.
fn run_agent(number: usize, pilots: &[Pilot], agents: &mut JoinSet<()>) -> Outlets {
    let node = format!("router~10.0.{}.{}~vm-{number}~x", number / 200, number % 200).parse().unwrap();
    let (outlets, ack_states) = (Outlets::default(), AckStates::default());
    let settings =
        RelaySettings { require_proxy: false, patience: Duration::from_millis(100), ..RelaySettings::default() };
    let exchange = Exchange::new(Relay::new(settings, Stored::default()), ack_states.clone(), outlets.clone());
    let mut pilots: Vec<_> = pilots.iter().map(|pilot| format!("http://{}", pilot.address).parse().unwrap()).collect();
    pilots.rotate_left(number % PILOTS);
    let look = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(2), jitter: 0.5 };
    let picker = PickerSettings { look, ..PickerSettings::default() };
    let running =
        exchange::converse(node, exchange, ExchangeSettings::default(), pilots, picker, ack_states, outlets.clone());
    agents.spawn(running);
    outlets
}

/// Waits for what must come true. Returns how long it took.
async fn within(limit: Duration, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn the_agents_of_a_killed_pilot_are_served_by_the_others_and_go_back_and_nothing_is_sent_twice() {
    let mut pilots: Vec<_> = (0..PILOTS).map(|_| Pilot::start("127.0.0.1:0")).collect();
    let mut agents = JoinSet::new();
    let outlets: Vec<_> = (0..AGENTS).map(|number| run_agent(number, &pilots, &mut agents)).collect();
    let knows = |outlets: &Outlets| {
        // Beside those of services there is the capture listener.
        let listeners = outlets.served.borrow().of(ResourceType::Listener).len();
        outlets.names.borrow().len() == usize::from(SERVICES) && listeners > usize::from(SERVICES)
    };
    let all_know = || outlets.iter().all(knows);
    within(Duration::from_secs(60), "every agent is told every service", all_know).await;
    // What an agent has not answered yet is sent again, on purpose.
    let all_answered = || outlets.iter().all(|outlets| *outlets.unanswered.borrow() == 0);
    within(Duration::from_secs(60), "every pilot has its answers", all_answered).await;
    let spread: Vec<_> = pilots.iter().map(Pilot::agents).collect();
    assert_eq!(spread, [67, 67, 66]);

    pilots[0].kill().await;
    let moved = || pilots[1].agents() + pilots[2].agents() == AGENTS;
    let outage = within(Duration::from_secs(30), "all are connected to the others", moved).await;
    println!("all were connected again after {outage:?}");
    // The agents of a pilot have the same second choice here. By a name, they spread over all others.
    assert_eq!([pilots[1].agents(), pilots[2].agents()], [134, 66]);

    let restarted = Pilot::start(&pilots[0].address.to_string());
    let back = || restarted.agents() == spread[0] && pilots[1].agents() == spread[1];
    let returned = within(Duration::from_secs(60), "they go back to the pilot that they prefer", back).await;
    println!("the agents were back after {returned:?}");
    for proxy in restarted.proxies.list() {
        // There are no routes, which each stream is told once.
        let sent = proxy.types.iter().filter(|(kind, status)| **kind != ResourceType::Route && status.sent.is_some());
        assert_eq!(sent.count(), 0, "something is sent twice: {proxy:?}");
    }
    assert!(all_know(), "a name is lost");
}
