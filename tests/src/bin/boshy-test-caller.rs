//! Asks services of the sample again and again, in a VM of the lab, and prints each request as a line of JSON
//! (`boshy_tests::chaos::Request`).
//!
//! ```text
//! boshy-test-caller HOST:PORT...
//! ```
//!
//! Each service is asked in three ways at once: over a new connection after a new question for its name, over one
//! connection for as long as that lasts, and over a new connection to an address that is remembered for the TTL of an
//! answer. It ends when nobody reads its lines any more.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test program: whatever fails fails the test")]
#![expect(clippy::disallowed_methods, reason = "a test program: a test fails by what it waits for")]

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs},
    thread,
    time::{Duration, Instant},
};

use boshy_tests::chaos::{Answer, Failure, Host, Kind, Request, now};
use serde_json::Value;

/// Pause between two requests of one kind to one service.
const PAUSE: Duration = Duration::from_millis(300);
/// Time for a connection and for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an address is remembered; `boshy_mesh::ANSWER_TTL`.
const TTL: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const LONGEST: u64 = 4096;

fn main() {
    let mut callers = Vec::new();
    for target in std::env::args().skip(1) {
        let (host, port) = target.rsplit_once(':').unwrap();
        for kind in [Kind::Short, Kind::Long, Kind::Cached] {
            let caller =
                Caller { host: host.to_owned(), port: port.parse().unwrap(), kind, address: None, connection: None };
            callers.push(thread::spawn(move || caller.run()));
        }
    }
    callers.into_iter().for_each(|caller| caller.join().unwrap());
}

/// One way to ask one service.
struct Caller {
    host: String,
    port: u16,
    kind: Kind,
    /// The remembered address, and when it was asked for.
    address: Option<(Ipv4Addr, Instant)>,
    connection: Option<Connection>,
}

struct Connection {
    stream: BufReader<TcpStream>,
    vip: Ipv4Addr,
    /// The instance that has answered on it.
    instance: Option<String>,
}

/// What a request failed by.
struct Trouble(Failure, String);

impl Caller {
    fn run(mut self) {
        loop {
            let begun = now();
            let result = self.ask();
            let vip = self.connection.as_ref().map(|connection| connection.vip).or(self.address.map(|(vip, _)| vip));
            let answer = match result {
                Ok(instance) => Answer::From(instance),
                Err(Trouble(failure, error)) => {
                    let instance = self.connection.take().and_then(|connection| connection.instance);
                    Answer::Failed { failure, instance, error }
                }
            };
            let request = Request { begun, ended: now(), to: Host(self.host.clone()), kind: self.kind, vip, answer };
            if writeln!(io::stdout(), "{}", serde_json::to_string(&request).unwrap()).is_err() {
                return;
            }
            if self.kind != Kind::Long {
                self.connection = None;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Makes one request and returns the instance that answered.
    fn ask(&mut self) -> Result<String, Trouble> {
        if self.connection.is_none() {
            let vip = self.address()?;
            let connected = TcpStream::connect_timeout(&SocketAddr::new(vip.into(), self.port), PATIENCE);
            let stream = connected.map_err(|error| Trouble(Failure::Connection, error.to_string()))?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            self.connection = Some(Connection { stream: BufReader::new(stream), vip, instance: None });
        }
        let connection = self.connection.as_mut().unwrap();
        let instance = connection.exchange(&self.host).map_err(|error| {
            let failure = match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Silence,
                ErrorKind::InvalidData => Failure::Garbage,
                _ => Failure::Broken,
            };
            Trouble(failure, error.to_string())
        })?;
        connection.instance = Some(instance.clone());
        Ok(instance)
    }

    /// The service's address; a remembered one while it may be used.
    fn address(&mut self) -> Result<Ipv4Addr, Trouble> {
        let remembered = self.address.filter(|(_, asked)| self.kind == Kind::Cached && asked.elapsed() < TTL);
        self.address = None;
        let (vip, asked) = match remembered {
            Some(remembered) => remembered,
            None => (resolved(&self.host, self.port)?, Instant::now()),
        };
        self.address = Some((vip, asked));
        Ok(vip)
    }
}

fn resolved(host: &str, port: u16) -> Result<Ipv4Addr, Trouble> {
    let found = (host, port).to_socket_addrs().map_err(|error| Trouble(Failure::Name, error.to_string()))?;
    let mut addresses = found.filter_map(|address| if let IpAddr::V4(ip) = address.ip() { Some(ip) } else { None });
    addresses.next().ok_or_else(|| Trouble(Failure::Name, "no IPv4 address".to_owned()))
}

impl Connection {
    /// Sends a request and reads the answer.
    fn exchange(&mut self, host: &str) -> io::Result<String> {
        let request = format!("GET /ip HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let mut length = 0;
        loop {
            let header = self.line()?;
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| garbage(&header))?;
            }
        }
        if !status.contains(" 200") || length > LONGEST {
            return Err(garbage(&status));
        }
        let mut body = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).map_err(|error| garbage(&error.to_string()))?;
        body["instance"].as_str().map(str::to_owned).ok_or_else(|| garbage(&body.to_string()))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = (&mut self.stream).take(LONGEST).read_line(&mut line)?;
        if read == 0 || !line.ends_with('\n') {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection ended"));
        }
        Ok(line.trim_end().to_owned())
    }
}

fn garbage(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}
