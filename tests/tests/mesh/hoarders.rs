//! Clients that hold as many connections as they can get, and other clients that make requests in the meantime.

use std::{
    env,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use boshy_tests::{AgentPlan, Director, Manifest, Operated, meanwhile, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::SHOP;

/// How long other clients may have to wait.
const BOUND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);
/// An address that no other client uses.
const ANOTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9));

/// A connection from an address of this machine.
fn dial(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// A connection with a completed request, which is kept open.
fn keeps_one(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = dial(from, to)?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: pilot\r\n\r\n")?;
    let mut first = [0; 12];
    stream.read_exact(&mut first)?;
    assert_eq!(&first, b"HTTP/1.1 200");
    Ok(stream)
}

/// The time for a page over a new connection.
fn page(at: SocketAddr, path: &str) -> Duration {
    let begun = Instant::now();
    let asks = || -> io::Result<String> {
        let mut stream = dial(ANOTHER, at)?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: pilot\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = asks().unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    begun.elapsed()
}

#[expect(clippy::print_stdout, reason = "a figure for whoever runs the test by itself")]
fn tell(slowest: Duration) {
    println!("slowest page of another client: {slowest:?}");
}

/// Requests every page repeatedly from another address; each must be answered in time.
fn others_are_served(at: SocketAddr, act: impl FnOnce()) {
    let mut slowest = Duration::ZERO;
    let asks = || {
        for path in ["/healthz", "/metrics", "/v1/registration"] {
            let took = page(at, path);
            assert!(took < BOUND, "{path} took {took:?}");
            slowest = slowest.max(took);
        }
    };
    meanwhile(asks, act);
    tell(slowest);
}

fn more_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit is raised to what is allowed");
    assert!(hard >= 10_000, "this test needs 10,000 descriptors, has {hard}");
}

#[test]
fn four_thousand_kept_connections_of_one_client_or_of_many_keep_nobody_out() {
    more_descriptors();
    let director = Director::with([Manifest::of("shop")]);
    let pilot = director.pilot().starts();
    pilot.is_ready().serves(SHOP, 1);
    let at = pilot.http_address();
    let of_one = vec![Ipv4Addr::LOCALHOST; 4_225];
    let of_many = (0..4_225_u16).map(|number| Ipv4Addr::new(127, 0, 1, (number / 250) as u8)).collect();
    for addresses in [of_one, of_many] {
        others_are_served(at, || {
            let mut held = Vec::new();
            for address in addresses {
                held.push(keeps_one(address.into(), at).expect("a newcomer is served"));
            }
            // Then for a while with as many connections as the server allows.
            let until = Instant::now() + BOUND;
            while Instant::now() < until {
                assert!(page(at, "/healthz") < BOUND);
            }
        });
    }
    pilot.is_ready();
}

/// Set in the process with few descriptors, which runs a director and a pilot.
const POOR: &str = "BOSHY_TEST_POOR";

/// A pilot with its director in a process of its own, which may have 128 descriptors.
struct Poor {
    process: Child,
    /// Pipe for further output of its test harness, which is not read.
    _output: ChildStdout,
    http: SocketAddr,
    xds: SocketAddr,
}

impl Poor {
    fn starts(test: &str) -> Self {
        let program = env::current_exe().expect("this program");
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\""]).arg(program).args(["--exact", test, "--nocapture"]);
        command.env(POOR, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a shell");
        let mut said = String::new();
        let mut output = process.stdout.take().expect("it is piped");
        let mut octet = [0];
        while !said.ends_with(" listens\n") {
            output.read_exact(&mut octet).expect("it says where it listens");
            said.push(char::from(octet[0]));
        }
        let words: Vec<&str> = said.split_whitespace().rev().collect();
        let (http, xds) = (words[2].parse().expect("an address"), words[1].parse().expect("an address"));
        Self { process, _output: output, http, xds }
    }

    /// The other process: it runs until this one ends it.
    #[expect(clippy::print_stdout, reason = "it tells the other process where it listens")]
    fn is_here() -> bool {
        if env::var_os(POOR).is_none() {
            return false;
        }
        let director = Director::with([Manifest::of("shop")]);
        let pilot = director.pilot().starts();
        pilot.is_ready().serves(SHOP, 1);
        println!("{} {} listens", pilot.http_address(), pilot.xds_address());
        let _ = io::stdin().read_to_end(&mut Vec::new());
        true
    }
}

impl Drop for Poor {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Whether the peer has ended a connection.
fn is_cut(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    loop {
        match stream.read(&mut [0; 256]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn silent_connections_to_the_xds_port_are_cut_and_cost_a_pilot_with_few_descriptors_nothing_else() {
    if Poor::is_here() {
        return;
    }
    more_descriptors();
    let pilot = Poor::starts(
        "hoarders::silent_connections_to_the_xds_port_are_cut_and_cost_a_pilot_with_few_descriptors_nothing_else",
    );
    others_are_served(pilot.http, || {
        let mut held: Vec<_> =
            (0..1_500).map(|_| dial(Ipv4Addr::LOCALHOST.into(), pilot.xds).expect("a newcomer is taken")).collect();
        // At the same time, the same on the other port.
        for _ in 0..300 {
            keeps_one(Ipv4Addr::LOCALHOST.into(), pilot.http).expect("a newcomer is served");
        }
        let newcomer = AgentPlan::of_address(pilot.xds).starts();
        newcomer.shows("a newcomer gets its names", |status| status["names"]["answered"].get(SHOP).is_some());
        until(
            "every silent connection is cut",
            || held.iter_mut().map(is_cut).filter(|cut| !cut).count(),
            |open| *open == 0,
        );
    });
}
