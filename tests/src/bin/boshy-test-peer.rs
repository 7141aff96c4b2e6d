//! One end of TCP connections, run by tests in a VM of the lab. It reads commands from standard input, and writes
//! results to standard output as lines of JSON.
//!
//! ```text
//! serve PORT              accepts one connection for each line STEP...; prints "ready" once it listens
//! connect                 makes one connection for each line HOST:PORT STEP...
//! echo PORT               accepts all connections and sends each octet back; prints "ready" once it listens
//! visited PORT STEP...    accepts all connections and takes the steps with each; prints "ready" once it listens, and
//!                         for each line how many connections there were
//! late PORT               listens with a full backlog; prints "ready"; after a line, accepts connections and sends
//!                         each octet back
//! hold HOST:PORT N        opens N connections, has an octet sent back over each, and prints how many answer. After a
//!                         line "again" it repeats this; after "ends" it sends an octet over every second connection,
//!                         and prints how many end by themselves
//! visit HOST:PORT N       makes N connections one after the other, has an octet sent back over each, and prints the
//!                         median of their times in microseconds
//! ask HOST:PORT N         has N octets sent back one after the other over one connection, and prints the same
//! ```
//!
//! Steps: `send:N` sends N octets; `recv:N` reads N octets; `arrived:N` waits until N octets are unread in the kernel;
//! `drain` reads to the end; `slowly` reads to the end in small pieces; `shut` closes for writing; `close` closes;
//! `reset` closes with a reset; `quiet:MS` requires that neither octets nor an end arrive for this time; `rest:MS` does
//! nothing for this time; `upload:N` sends N octets while it reads to the end, and tolerates that the other end accepts
//! no more.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program: whatever fails fails the test")]
#![expect(clippy::disallowed_methods, reason = "a test program: a test fails by what it waits for")]

use std::{
    io::{self, BufRead, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use boshy_tests::peer::{End, Outcome, octet};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Time for the other end to do its part.
const PATIENCE: Duration = Duration::from_secs(15);
/// Number of connections opened at the same time: an overflowing backlog costs a second.
const AT_ONCE: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", port] => serve(port.parse().unwrap()),
        ["connect"] => connect(),
        ["echo", port] => in_many_tasks(echo(port.parse().unwrap())),
        ["visited", port, steps @ ..] => visited(port.parse().unwrap(), steps),
        ["late", port] => late(port.parse().unwrap()),
        ["hold", address, count] => in_many_tasks(hold(address, count.parse().unwrap())),
        ["visit", address, count] => visit(address, count.parse().unwrap()),
        ["ask", address, count] => ask(address, count.parse().unwrap()),
        other => panic!("unknown: {other:?}"),
    }
}

fn serve(port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    println!("ready");
    for line in io::stdin().lock().lines() {
        let (stream, _) = listener.accept().unwrap();
        tell(&Conversation::new(stream).follow(line.unwrap().split_whitespace()));
    }
}

fn visited(port: u16, steps: &[&str]) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    let visits = Arc::new(AtomicUsize::new(0));
    let (counter, steps) = (Arc::clone(&visits), steps.join(" "));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, steps) = (stream.unwrap(), steps.clone());
            counter.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || Conversation::new(stream).follow(steps.split_whitespace()));
        }
    });
    println!("ready");
    for line in io::stdin().lock().lines() {
        line.unwrap();
        println!("{}", visits.load(Ordering::Relaxed));
    }
}

/// A backlog of zero has room for one connection.
fn late(port: u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).unwrap();
    socket.listen(0).unwrap();
    let _first = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    println!("ready");
    io::stdin().lock().lines().next().unwrap().unwrap();
    for stream in TcpListener::from(socket).incoming() {
        let mut stream = stream.unwrap();
        thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
    }
}

fn connect() {
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        let (address, steps) = line.split_once(' ').unwrap();
        tell(&match TcpStream::connect(address) {
            Ok(stream) => Conversation::new(stream).follow(steps.split_whitespace()),
            Err(error) => Outcome { received: 0, end: End::Refused, trouble: error.kind().to_string() },
        });
    }
}

fn visit(address: &str, count: usize) {
    println!("{:.1}", median_time(count, || asked(&mut TcpStream::connect(address).unwrap())));
}

fn ask(address: &str, count: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    println!("{:.1}", median_time(count, || asked(&mut stream)));
}

fn asked(stream: &mut TcpStream) {
    stream.write_all(&[7]).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

/// In microseconds.
fn median_time(count: usize, mut act: impl FnMut()) -> f64 {
    let timed = |_| {
        let begun = Instant::now();
        act();
        begun.elapsed()
    };
    let mut times: Vec<Duration> = (0..count).map(timed).collect();
    times.sort_unstable();
    times[count / 2].as_secs_f64() * 1e6
}

fn tell(outcome: &Outcome) {
    println!("{}", serde_json::to_string(outcome).unwrap());
}

struct Conversation {
    stream: TcpStream,
    sent: u64,
    outcome: Outcome,
}

impl Conversation {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, sent: 0, outcome: Outcome { received: 0, end: End::Own, trouble: String::new() } }
    }

    fn follow<'a>(mut self, steps: impl Iterator<Item = &'a str>) -> Outcome {
        for step in steps {
            let (verb, number) = step.split_once(':').unwrap_or((step, "0"));
            if let Err(trouble) = self.step(verb, number.parse().unwrap()) {
                self.outcome.trouble = format!("{step}: {trouble}");
                break;
            }
        }
        self.outcome
    }

    fn step(&mut self, verb: &str, number: u64) -> Result<(), String> {
        match verb {
            "send" => send(&mut self.stream, &mut self.sent, number).map_err(|error| error.kind().to_string()),
            "recv" => self.read(number, usize::MAX),
            "arrived" => self.arrived(number),
            "drain" => self.read(u64::MAX, usize::MAX),
            "slowly" => self.read(u64::MAX, 20_000),
            "upload" => self.upload(number),
            "rest" => {
                thread::sleep(Duration::from_millis(number));
                Ok(())
            }
            "quiet" => self.quiet(Duration::from_millis(number)),
            "shut" => self.stream.shutdown(Shutdown::Write).map_err(|error| error.kind().to_string()),
            "close" => {
                self.close();
                Ok(())
            }
            "reset" => {
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
                self.close();
                Ok(())
            }
            other => Err(format!("unknown step {other}")),
        }
    }

    /// Closes the socket by replacing it with an unconnected one.
    fn close(&mut self) {
        let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        self.stream = unconnected.into();
    }

    /// Reads this number of octets, in pieces of at most `piece`, or to the end.
    fn read(&mut self, wanted: u64, piece: usize) -> Result<(), String> {
        let mut buffer = vec![0; piece.min(256 * 1024)];
        let until = self.outcome.received.saturating_add(wanted);
        while self.outcome.received < until {
            let most = usize::try_from(until - self.outcome.received).unwrap_or(usize::MAX).min(buffer.len());
            match self.stream.read(&mut buffer[..most]) {
                Ok(0) => return self.ended(End::Fin, wanted),
                Ok(count) => {
                    for (place, value) in (self.outcome.received..).zip(&buffer[..count]) {
                        if octet(place) != *value {
                            return Err(format!("another octet at {place}"));
                        }
                    }
                    self.outcome.received += count as u64;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return self.ended(End::Never, wanted);
                }
                Err(_) => return self.ended(End::Reset, wanted),
            }
            if piece < usize::MAX {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn ended(&mut self, end: End, wanted: u64) -> Result<(), String> {
        self.outcome.end = end;
        if wanted == u64::MAX { Ok(()) } else { Err("it ended before".to_owned()) }
    }

    fn arrived(&mut self, number: u64) -> Result<(), String> {
        let mut buffer = vec![0; usize::try_from(number).unwrap()];
        let deadline = Instant::now() + PATIENCE;
        while self.stream.peek(&mut buffer).map_err(|error| error.kind().to_string())? < buffer.len() {
            if Instant::now() > deadline {
                return Err("not within the patience".to_owned());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn quiet(&mut self, time: Duration) -> Result<(), String> {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match seen {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            other => Err(format!("{:?}", other.map_err(|error| error.kind()))),
        }
    }

    fn upload(&mut self, number: u64) -> Result<(), String> {
        let (mut writer, mut sent) = (self.stream.try_clone().unwrap(), self.sent);
        let sending = thread::spawn(move || {
            if send(&mut writer, &mut sent, number).is_ok() {
                let _ = writer.shutdown(Shutdown::Write);
            }
        });
        let read = self.read(u64::MAX, usize::MAX);
        sending.join().unwrap();
        read
    }
}

fn send(stream: &mut TcpStream, sent: &mut u64, number: u64) -> io::Result<()> {
    let until = *sent + number;
    while *sent < until {
        let piece: Vec<u8> = (*sent..until.min(*sent + 64 * 1024)).map(octet).collect();
        stream.write_all(&piece)?;
        *sent += piece.len() as u64;
    }
    Ok(())
}

fn in_many_tasks(work: impl Future<Output = ()>) {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

async fn echo(port: u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
    let listener = socket.listen(4096).unwrap();
    println!("ready");
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut octet = [0];
            while stream.read_exact(&mut octet).await.is_ok() && stream.write_all(&octet).await.is_ok() {}
        });
    }
}

async fn hold(address: &str, count: usize) {
    let mut streams = Vec::new();
    while streams.len() < count {
        let batch = (count - streams.len()).min(AT_ONCE);
        let opening: Vec<_> =
            (0..batch).map(|_| tokio::spawn(tokio::net::TcpStream::connect(address.to_owned()))).collect();
        for one in opening {
            // A refused connection counts as one that does not answer.
            streams.push(one.await.unwrap().ok());
        }
    }
    for line in std::iter::once(Ok("again".to_owned())).chain(io::stdin().lock().lines()) {
        let counted = if line.unwrap() == "ends" { ended(&mut streams).await } else { answered(&mut streams).await };
        println!("{counted}");
    }
}

async fn answered(streams: &mut [Option<tokio::net::TcpStream>]) -> usize {
    let mut answered = 0;
    for stream in streams.iter_mut().flatten() {
        let mut octet = [7];
        let exchange = async { stream.write_all(&octet).await.is_ok() && stream.read_exact(&mut octet).await.is_ok() };
        answered += usize::from(tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(false));
    }
    answered
}

async fn ended(streams: &mut [Option<tokio::net::TcpStream>]) -> usize {
    for stream in streams.iter_mut().flatten().step_by(2) {
        stream.write_all(&[7]).await.unwrap();
    }
    let mut ended = 0;
    for stream in streams.iter_mut().flatten() {
        let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await;
        ended += usize::from(matches!(end, Ok(Ok(0) | Err(_))));
    }
    ended
}
