//! Runs an agent in restricted environments: as an ordinary user with one capability, without capabilities, without
//! tools, without a pilot whose name resolves.
//!
//! Each scenario runs in its own network and mount namespace, in a second process of this same test.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

const INSIDE: &str = "BOSHY_CLI_TEST_INSIDE";
const PATIENCE: Duration = Duration::from_secs(30);
/// The rights that bpm gives to a process: this user, these capabilities, and no way to gain more.
pub(crate) const VCAP: [&str; 3] =
    ["--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin", "--bounding-set=-all,+net_admin"];
const POWERLESS: [&str; 3] = ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"];
/// Left out where only one user exists, because the tests run as an ordinary user there.
pub(crate) const USER: [&str; 3] = ["--reuid=1000", "--regid=1000", "--clear-groups"];

/// Runs a scenario on a simulated VM: a device with the VM's address, and a read-only `/proc/sys` as under bpm.
pub(crate) fn alone(test: &str, scenario: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        sh(
            "ip link set lo up && ip link add eth0 type veth peer name outside && ip addr add 10.244.0.130/24 dev eth0 \
            && ip link set eth0 up && ip link set outside up \
            && mount --rbind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys",
        );
        scenario();
        return;
    }
    let root = sh("id -u").trim() == "0";
    let mapped: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(mapped)
        .args(["--net", "--mount", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, if root { "users" } else { "one user" })
        .output()
        .expect("the program `unshare` (package util-linux) is needed for this test");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "in its namespace:\n{text}");
}

pub(crate) fn several_users() -> bool {
    env::var(INSIDE).is_ok_and(|inside| inside == "users")
}

pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "`{line}` failed: {text}");
    text
}

/// A running agent, whose directories belong to its user.
pub(crate) struct Agent {
    child: Child,
    home: tempfile::TempDir,
}

impl Agent {
    pub(crate) fn start(through: &[&str], pilot: &str, more: &str) -> Self {
        Self::start_as("{ip: 10.244.0.130}", through, pilot, more)
    }

    /// Starts an agent with this `node` setting.
    pub(crate) fn start_as(node: &str, through: &[&str], pilot: &str, more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().display();
        let ads_socket =
            if more.contains("ads_socket:") { String::new() } else { format!("ads_socket: {at}/ads.sock\n") };
        let settings = format!("node: {node}\npilots: ['{pilot}']\nstate_dir: {at}/state\n{ads_socket}{more}");
        fs::write(home.path().join("settings.yml"), settings).unwrap();
        // An ordinary user may not have access to the directory in which cargo keeps the program.
        fs::copy(env!("CARGO_BIN_EXE_boshy"), home.path().join("boshy")).unwrap();
        let mut words = vec!["setpriv", "--no-new-privs"];
        if several_users() {
            sh(&format!("chown -R 1000:1000 {at}"));
            words.extend(USER);
        }
        words.extend(through);
        let program = format!("{at}/boshy");
        let config = format!("{at}/settings.yml");
        words.extend([program.as_str(), "agent", "--config", &config]);
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, home }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its parent's child, which does the work.
    pub(crate) fn kept(&self) -> String {
        sh(&format!("pgrep -P {}", self.pid())).trim().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    pub(crate) fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = status().unwrap_or_default();
            if wanted(&seen) {
                return seen;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}: {seen:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn lacks(&self, what: &str, reason: &str, remedy: &str) {
        self.shows(&format!("{what} is lacking: {reason}"), |status| {
            lack(status, what).is_some_and(|lack| {
                lack["reason"].as_str().unwrap().contains(reason) && lack["remedy"].as_str().unwrap().contains(remedy)
            })
        });
    }

    pub(crate) fn has(&self, what: &str) {
        self.shows(&format!("{what} is there"), |status| status["lacking"].is_array() && lack(status, what).is_none());
    }

    /// Sends SIGTERM, expects an orderly end, and returns the time it took.
    pub(crate) fn stops(mut self) -> Duration {
        let begun = Instant::now();
        sh(&format!("kill -TERM {}", self.child.id()));
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        begun.elapsed()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lack(status: &Value, what: &str) -> Option<Value> {
    status["lacking"].as_array()?.iter().find(|lack| lack["what"] == what).cloned()
}

fn status() -> Option<Value> {
    let mut stream = TcpStream::connect("127.0.0.1:15020").ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

pub(crate) fn rules() -> String {
    sh("nft list ruleset; ip -4 route show table all proto 176")
}

pub(crate) const NOBODY: &str = "http://127.0.0.1:1";
const FOREIGN: &str = "nft -f - <<'RULES'
table inet bosh_agent {
    chain monit_access { type filter hook output priority 0; policy accept;
        ip daddr 127.0.0.1 tcp dport 2822 drop
    }
}
RULES
nft add table ip operators; ip route add 192.0.2.0/24 dev lo";

#[test]
fn as_vcap_with_net_admin_alone_everything_works_beside_tables_of_others_and_goes_on_stop() {
    alone("degraded::as_vcap_with_net_admin_alone_everything_works_beside_tables_of_others_and_goes_on_stop", || {
        sh(FOREIGN);
        let before = sh("nft list ruleset; ip -4 route show table all");
        let agent = Agent::start(&VCAP, NOBODY, "netfilter: {backend: netlink}\n");
        agent.shows("rules", |status| {
            status["rules"]["in_place"] == true && status["rules"]["route"]["in_place"] == true
        });
        let process = fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(process.contains(&format!("{set}:\t0000000000001000")), "{process}");
        }
        let user = if several_users() { 1000 } else { 0 };
        assert!(process.contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}")), "{process}");
        let socket = sh(&format!("stat -c %a:%u {}/ads.sock", agent.home.path().display()));
        assert_eq!(socket.trim(), format!("660:{user}"));
        sh("ss -lnup | grep -q 127.0.0.1:15053");
        assert!(rules().contains("15001") && rules().contains("169.254.255.0/24"), "{}", rules());
        agent.lacks("pilot", "does not accept a connection", "Start the pilot");
        agent.lacks("envoy", "no Envoy is connected", "Start the job bosh-envoy");

        let took = agent.stops();
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert_eq!(sh("nft list ruleset; ip -4 route show table all"), before);
    });
}

#[test]
fn without_the_capability_the_agent_serves_and_says_what_it_lacks() {
    alone("degraded::without_the_capability_the_agent_serves_and_says_what_it_lacks", || {
        let agent = Agent::start(&POWERLESS, NOBODY, "");
        agent.lacks("rules", "needs CAP_NET_ADMIN", "Give the agent the capability NET_ADMIN");
        agent.lacks("route", "needs CAP_NET_ADMIN", "Give the agent the capability NET_ADMIN");
        let told = agent.log().matches("what=\"rules\"").count();
        assert_eq!(told, 1, "{}", agent.log());
        agent.stops();
    });
}

#[test]
fn a_missing_address_is_taken_up_when_it_appears() {
    alone("degraded::a_missing_address_is_taken_up_when_it_appears", || {
        sh("ip addr del 10.244.0.130/24 dev eth0");
        let agent = Agent::start(&VCAP, NOBODY, "");
        agent.has("rules");
        agent.lacks("route", "10.244.0.130 is no address of this VM", "Set `node.ip`");
        sh("ip addr add 10.244.0.130/24 dev eth0");
        agent.has("route");
        assert!(agent.log().contains("no longer doing without what=\"route\""), "{}", agent.log());
        agent.stops();
    });
}

#[test]
fn a_pilot_is_found_once_its_name_resolves() {
    alone("degraded::a_pilot_is_found_once_its_name_resolves", || {
        let hosts = tempfile::NamedTempFile::new().unwrap();
        sh(&format!("chmod 644 {0} && mount --bind {0} /etc/hosts", hosts.path().display()));
        // No server answers DNS questions here, and a question times out after a second.
        let resolver = tempfile::NamedTempFile::new().unwrap();
        fs::write(resolver.path(), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
        sh(&format!("chmod 644 {0} && mount --bind {0} /etc/resolv.conf", resolver.path().display()));
        let agent = Agent::start(&VCAP, "http://pilot.boshy.internal:15010", "");
        agent.lacks("pilot", "the name pilot.boshy.internal does not resolve", "Deploy the pilot");
        fs::write(hosts.path(), "127.0.0.7 pilot.boshy.internal\n").unwrap();
        agent.lacks("pilot", "127.0.0.7:15010 does not accept a connection", "Start the pilot on 127.0.0.7:15010");
        agent.stops();
    });
}
