//! A simulated VM: a namespace with loopback, one device, and listeners that report their clients.

use std::{
    any::type_name_of_val,
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use boshy_netfilter::{Found, Guard, Ownership, Pairs, Redirect, Ruleset};
use nix::{
    sys::socket::{getsockopt, sockopt::OriginalDst},
    unistd::geteuid,
};

/// Set in a process that is in its own namespace: a folder that comes first in its PATH.
const HOME: &str = "BOSHY_NETFILTER_TEST_HOME";

/// The VM's own address.
pub(crate) const VM: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 5);
/// A virtual IP.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 9);

/// Runs a scenario in its own namespace. The child process finds it by the path of its test function.
pub(crate) fn alone(scenario: impl FnOnce()) {
    if env::var_os(HOME).is_some() {
        if role().is_none() {
            sh("ip link set lo up");
        }
        return scenario();
    }
    let home = tempfile::tempdir().unwrap();
    let output = in_namespace(&test_name(&scenario), home.path()).output();
    let output = output.expect("the program `unshare` (package util-linux) is needed for tests in namespaces");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "in its namespace:\n{stdout}\n{stderr}");
    print!("{stdout}");
}

/// The name of a test function, from a closure in it.
pub(crate) fn test_name<T>(inside: &T) -> String {
    let path = type_name_of_val(inside);
    let path = path.split_once("::").expect("a closure is in a crate").1;
    path.trim_end_matches("::{{closure}}").to_owned()
}

fn in_namespace(test: &str, home: &Path) -> Command {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let path = format!("{}:{}:/usr/sbin:/sbin", home.display(), env::var("PATH").unwrap_or_default());
    command
        .args(["--net", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, home)
        .env("PATH", path);
    command
}

/// Runs this test again, as a second process in the same namespace; `role` is the result of [`role`] there.
pub(crate) fn beside<T>(inside: &T, role: &str, through: &[&str]) -> Command {
    let mut words: Vec<std::ffi::OsString> = through.iter().map(Into::into).collect();
    words.push(env::current_exe().unwrap().into());
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .args(["--exact", &test_name(inside), "--nocapture"])
        .env("BOSHY_NETFILTER_TEST_ROLE", role);
    command
}

/// The role of this process, in a scenario of several processes.
pub(crate) fn role() -> Option<String> {
    env::var("BOSHY_NETFILTER_TEST_ROLE").ok()
}

/// Runs a shell command that must succeed, and returns its output.
pub(crate) fn sh(line: &str) -> String {
    let (success, text) = try_sh(line);
    assert!(success, "`{line}` failed (programs come from the packages iproute2, nftables, iptables): {text}");
    text
}

/// Runs a shell command. Returns whether it succeeded, and its output.
pub(crate) fn try_sh(line: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Adds a device with the VM's address to the namespace.
pub(crate) fn device() {
    sh("ip link add eth0 type veth peer name outside && ip addr add 10.244.0.5/24 dev eth0 && ip link set eth0 up \
        && ip link set outside up");
}

/// Adds a default route.
pub(crate) fn default_route() {
    sh("ip route add default via 10.244.0.1");
}

pub(crate) fn redirect() -> Redirect {
    Redirect::new("169.254.255.0/24".parse().unwrap(), 15001).unwrap()
}

/// The redirect's rules with these pairs.
pub(crate) fn rules(pairs: &Arc<Pairs>) -> Ruleset {
    redirect().ruleset(pairs)
}

/// The pairs in the table.
pub(crate) fn present(guard: &mut Guard) -> Pairs {
    guard.present().unwrap().pairs(Redirect::SET).as_ref().clone()
}

/// The pairs that a guard knows to be in place.
pub(crate) fn written(guard: &Guard) -> Option<Arc<Pairs>> {
    guard.written().map(|ruleset| ruleset.sets[Redirect::SET].pairs())
}

/// Pairs parsed from text.
pub(crate) fn pairs<const N: usize>(pairs: [&str; N]) -> Arc<Pairs> {
    Arc::new(pairs.map(|pair| pair.parse().unwrap()).into())
}

/// The pair that most scenarios redirect to the proxy: [`VIP`] and port 9002.
pub(crate) fn one_pair() -> Arc<Pairs> {
    pairs(["169.254.255.9:9002"])
}

/// A guard that has written its rules and these pairs.
pub(crate) fn guarded(ownership: Ownership, pairs: &Arc<Pairs>) -> Guard {
    let mut guard = Guard::open(ownership).unwrap();
    assert_eq!(guard.keep(&rules(pairs)).unwrap(), Found::Beginning);
    assert_eq!(guard.keep(&rules(pairs)).unwrap(), Found::Untouched);
    guard
}

pub(crate) const BOTH: [Ownership; 2] = [Ownership::Shared, Ownership::WherePossible];

/// Listens on a port of all addresses, and sends each client the port, the client's address and the original
/// destination.
pub(crate) fn listen(port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let peer = client.peer_addr().unwrap().ip();
            let original = getsockopt(&client, OriginalDst).map(|address| {
                SocketAddrV4::new(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)), u16::from_be(address.sin_port))
            });
            let original = original.map_or_else(|_| "none".to_owned(), |address| address.to_string());
            let _ = write!(client, "{port} from {peer} to {original}");
        }
    });
}

/// Connects, and returns the listener's report or the error.
pub(crate) fn reach(address: Ipv4Addr, port: u16) -> String {
    let connected = TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(2));
    connected.and_then(said).unwrap_or_else(|error| error.to_string())
}

/// The listener's report on a connection.
pub(crate) fn said(mut stream: TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// A process that is killed with the value.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// One more network namespace: the process that keeps it, and its id.
pub(crate) fn namespace() -> (Killed, String) {
    let keeper = Killed(Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap());
    let pid = keeper.0.id().to_string();
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net == own) {
        assert!(Instant::now() < deadline, "no second namespace");
        thread::yield_now();
    }
    (keeper, pid)
}
