//! Measures the load of a pilot on a director: requests and octets in a minute without changes, by number of
//! deployments and period of the full read. Octets are counted on the wire, including TLS. Prints a Markdown table; a
//! run takes some minutes.
//!
//! `cargo run --release --package boshy-lab-director --example pilot_cost [SIZE...]`
//!
//! With `hour` before the sizes: requests and tasks in an hour by route, measured over five minutes with the default
//! settings, for a director that records events and for one that does not, beside those of a poll of everything each
//! ten seconds, which are computed: a list, and for each deployment its manifest and its instances with their state. The
//! director answers the latter by a task, which costs a request to begin it, one or more to wait for it, and one for its
//! output.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the result")]

use std::{
    collections::BTreeMap,
    env,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use boshy_director::{
    client::{ClientSettings, DirectorClient},
    observer::{ClockReading, Observer, ObserverSettings, ask},
};
use boshy_lab_director::{EmbeddedDirector, EmbeddedSettings, Handle, LAB_CLOUD_CONFIG, World};
use boshy_mesh::Timestamp;
use futures::{StreamExt, stream::FuturesUnordered};

const SIZES: [usize; 3] = [1, 100, 1_000];
const SIZES_OF_HOUR: [usize; 3] = [1, 10, 100];
/// Time over which an hour is measured: the default period of the full read.
const PART_OF_HOUR: Duration = Duration::from_secs(300);
const INSTANCES: usize = 5;
/// Time after which the news of the first deploys has been handled.
const SETTLES: Duration = Duration::from_secs(80);
const MEASURED: Duration = Duration::from_secs(60);
/// Periods of the full read: longer than the measurement, the default, and the one that applies without news.
const PERIODS: [(&str, u64); 3] = [("no full read", 86_400), ("full read in 300 s", 300), ("full read in 60 s", 60)];

/// Octets to the director and from it.
#[derive(Default)]
struct Wire([AtomicU64; 2]);

/// Totals up to a moment.
struct Sent {
    requests: BTreeMap<&'static str, u64>,
    octets: [u64; 2],
}

fn main() {
    if env::args().nth(1).as_deref() == Some("hour") {
        return hours();
    }
    println!("| deployments of {INSTANCES} instances | | requests | octets to the director | octets from it |");
    println!("| --: | --- | --: | --: | --: |");
    let sizes: Vec<usize> = env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    for size in if sizes.is_empty() { SIZES.to_vec() } else { sizes } {
        for (what, seconds) in PERIODS {
            measure(size, what, Duration::from_secs(seconds));
        }
    }
}

fn measure(size: usize, what: &str, full_pass: Duration) {
    let director = director(size, true);
    let wire = Arc::new(Wire::default());
    let url = format!("https://{}", relay(director.address(), &wire));
    let settings = ClientSettings::new(url, Some(director.ca_pem().to_owned()), director.credentials());
    let client = DirectorClient::new(&settings).expect("the settings are good");
    let mut observer = Observer::new(ObserverSettings { full_pass, ..ObserverSettings::default() });
    actix_rt::System::new().block_on(async {
        let begun = Instant::now();
        let start = sent(&director, &wire);
        observe(&mut observer, &client, begun, |observer| observer.known().complete).await;
        row(size, &format!("first read, {:.1} s", begun.elapsed().as_secs_f64()), &start, &sent(&director, &wire));
        let settled = Instant::now() + SETTLES;
        observe(&mut observer, &client, begun, |_| Instant::now() >= settled).await;
        let start = sent(&director, &wire);
        observe(&mut observer, &client, begun, |_| Instant::now() >= settled + MEASURED).await;
        row(size, what, &start, &sent(&director, &wire));
    });
}

/// All sizes at once, because the time passes for all.
fn hours() {
    println!(
        "| deployments of {INSTANCES} instances | director | requests an hour | of them readings | tasks an hour |"
    );
    println!("| --: | --- | --: | --: | --: |");
    let sizes: Vec<usize> = env::args().skip(2).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { SIZES_OF_HOUR.to_vec() } else { sizes };
    thread::scope(|scope| {
        let of = |size| [(size, true), (size, false)];
        let measured =
            sizes.iter().copied().flat_map(of).map(|(size, records)| scope.spawn(move || hour(size, records)));
        for row in measured.collect::<Vec<_>>() {
            println!("{}", row.join().expect("it is measured"));
        }
    });
    for size in sizes {
        let (polls, tasks) = (360, 360 * size);
        println!("| {size} | polled as a whole, computed | {} | {} | {tasks} |", polls + 4 * tasks, 4 * tasks);
    }
}

fn hour(size: usize, records_events: bool) -> String {
    let director = director(size, records_events);
    let settings = ClientSettings::new(director.url(), Some(director.ca_pem().to_owned()), director.credentials());
    let client = DirectorClient::new(&settings).expect("the settings are good");
    let mut observer = Observer::new(ObserverSettings::default());
    actix_rt::System::new().block_on(async {
        let begun = Instant::now();
        observe(&mut observer, &client, begun, |observer| observer.known().complete).await;
        let settled = Instant::now() + SETTLES;
        observe(&mut observer, &client, begun, |_| Instant::now() >= settled).await;
        let (before, tasks) = (director.requests(), director.tasks());
        observe(&mut observer, &client, begun, |_| Instant::now() >= settled + PART_OF_HOUR).await;
        let scale = 3600 / PART_OF_HOUR.as_secs();
        let mut made = director.requests();
        made.iter_mut().for_each(|(route, count)| *count -= before.get(route).copied().unwrap_or_default());
        let all: u64 = made.values().sum();
        let readings: u64 = made.iter().filter(|(route, _)| route.contains(":name")).map(|(_, count)| count).sum();
        let tasks = (director.tasks() - tasks) as u64;
        let what = if records_events { "records events" } else { "records no events" };
        eprintln!("{size} {what}: {made:?}");
        format!("| {size} | {what} | {} | {} | {} |", all * scale, readings * scale, tasks * scale)
    })
}

fn director(size: usize, records_events: bool) -> Handle {
    let world = World::new(LAB_CLOUD_CONFIG, records_events, 1).expect("the cloud config is good");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let director = EmbeddedDirector::start(listener, EmbeddedSettings::default(), world).expect("it starts");
    for number in 0..size {
        let manifest = format!(
            "
name: deployment-{number}
releases: []
stemcells: []
instance_groups:
- name: web
  azs: [z1]
  instances: {INSTANCES}
  networks: [{{name: default}}]
  jobs: [{{name: app, release: sample, expose_ports: [{{name: http, number: 8080}}]}}]
"
        );
        director.deploy(&manifest).expect("it deploys");
    }
    director
}

/// Asks what is due, as the pilot does, until a condition holds.
async fn observe(
    observer: &mut Observer,
    client: &DirectorClient,
    begun: Instant,
    mut holds: impl FnMut(&mut Observer) -> bool,
) {
    let mut under_way = FuturesUnordered::new();
    let now = || ClockReading { elapsed: begun.elapsed(), wall: Timestamp(0) };
    loop {
        under_way.extend(observer.due(now()).into_iter().map(|query| ask(client, query)));
        let pause = observer.next_at(now()).saturating_sub(begun.elapsed()).min(Duration::from_millis(100));
        if let Ok(Some(answer)) = actix_rt::time::timeout(pause, under_way.next()).await {
            observer.take(answer, now());
        } else if under_way.is_empty() {
            actix_rt::time::sleep(pause).await;
        }
        if holds(observer) {
            break;
        }
    }
    while let Some(answer) = under_way.next().await {
        observer.take(answer, now());
    }
}

fn sent(director: &Handle, wire: &Wire) -> Sent {
    Sent { requests: director.requests(), octets: wire.0.each_ref().map(|count| count.load(Ordering::Relaxed)) }
}

fn row(size: usize, what: &str, start: &Sent, end: &Sent) {
    let before = |route: &str| start.requests.get(route).copied().unwrap_or_default();
    let routes = end.requests.iter().map(|(route, count)| (*route, count - before(route)));
    let routes: Vec<_> = routes.filter(|(_, count)| *count > 0).collect();
    let requests: u64 = routes.iter().map(|(_, count)| count).sum();
    let [to, from] = [0, 1].map(|side| end.octets[side] - start.octets[side]);
    println!("| {size} | {what} | {requests} | {to} | {from} |");
    eprintln!("{routes:?}");
}

/// Forwards connections to the director, and counts their octets.
#[expect(clippy::disallowed_methods, reason = "a panic ends the example's figures, which somebody looks at")]
fn relay(director: SocketAddr, wire: &Arc<Wire>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let wire = Arc::clone(wire);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(director).expect("the director listens");
            for (side, from, to) in [(0, &client, &server), (1, &server, &client)] {
                let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                let wire = Arc::clone(&wire);
                thread::spawn(move || pass_on(from, to, &wire.0[side]));
            }
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count.fetch_add(length as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
