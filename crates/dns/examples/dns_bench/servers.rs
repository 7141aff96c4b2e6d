//! The servers under test, each with the same names, as child processes.

use std::{
    error::Error,
    fs, io,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_dns::{CurrentZone, Sockets, Zone, serve};
use boshy_mesh::{Hostname, NameTable, Tld};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::names::{NAMES, address_of, name_of, question};

/// The argument that makes this program act as the server.
pub(crate) const SERVE: &str = "serve";
/// The unit of CPU time in /proc, a hundredth of a second on every Linux that shows it to programs.
const TICK: Duration = Duration::from_millis(10);
/// A server that has not answered by then has failed to start.
const START: Duration = Duration::from_secs(10);

/// Kind of server.
pub(crate) enum Kind {
    Boshy,
    Unbound(PathBuf),
    Nsd(PathBuf),
}

impl Kind {
    /// boshy, and those of the other servers that are installed.
    pub(crate) fn available() -> Vec<Self> {
        let program = |variable, usual: &str| {
            let path = std::env::var_os(variable).map_or_else(|| usual.into(), PathBuf::from);
            path.exists().then_some(path)
        };
        let unbound = program("UNBOUND", "/usr/sbin/unbound").map(Self::Unbound);
        let nsd = program("NSD", "/usr/sbin/nsd").map(Self::Nsd);
        [Some(Self::Boshy), unbound, nsd].into_iter().flatten().collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Boshy => "boshy",
            Self::Unbound(_) => "unbound",
            Self::Nsd(_) => "nsd",
        }
    }

    /// The command, which runs in the foreground, and the port when the server does not choose one itself.
    fn command(&self, dir: &Path) -> io::Result<(Command, Option<u16>)> {
        let (program, config, port) = match self {
            Self::Boshy => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(SERVE);
                return Ok((command, None));
            }
            Self::Unbound(program) => {
                let port = free_port()?;
                (program, unbound_config(port), port)
            }
            Self::Nsd(program) => {
                let port = free_port()?;
                fs::write(dir.join("zone"), nsd_zone())?;
                (program, nsd_config(port, dir), port)
            }
        };
        let path = dir.join("config");
        fs::write(&path, config)?;
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(path);
        Ok((command, Some(port)))
    }
}

fn free_port() -> io::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn unbound_config(port: u16) -> String {
    let data: String =
        (0..NAMES).map(|n| format!("local-data: \"{}. 30 IN A {}\"\n", name_of(n), address_of(n))).collect();
    format!(
        "server:\ninterface: 127.0.0.1\nport: {port}\nnum-threads: 1\nusername: \"\"\nchroot: \"\"\ndirectory: \"/\"\n\
         pidfile: \"\"\nuse-syslog: no\nverbosity: 0\nminimal-responses: yes\nmodule-config: \"iterator\"\n\
         access-control: 127.0.0.0/8 allow\nso-rcvbuf: 1m\nso-sndbuf: 1m\nlocal-zone: \"boshy.\" static\n{data}remote-control:\ncontrol-enable: no\n"
    )
}

fn nsd_config(port: u16, dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "server:\nip-address: 127.0.0.1\nport: {port}\nserver-count: 1\nusername: \"\"\nchroot: \"\"\nzonesdir: \"{dir}\"\n\
         pidfile: \"{dir}/pid\"\ndatabase: \"\"\nxfrdfile: \"{dir}/xfrd\"\nxfrdir: \"{dir}\"\nzonelistfile: \"{dir}/zones\"\n\
         verbosity: 0\nreceive-buffer-size: 1048576\nsend-buffer-size: 1048576\nminimal-responses: yes\nrrl-ratelimit: 0\nrrl-whitelist-ratelimit: 0\n\
         remote-control:\ncontrol-enable: no\nzone:\nname: boshy\nzonefile: zone\n"
    )
}

fn nsd_zone() -> String {
    let names: String = (0..NAMES).map(|n| format!("{}. 30 IN A {}\n", name_of(n), address_of(n))).collect();
    format!("boshy. 1 IN SOA boshy. nobody.invalid. 1 3600 1200 604800 1\nboshy. 30 IN NS boshy.\n{names}")
}

/// A running server that answers. Dropping this value ends it.
pub(crate) struct Running {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Running {
    pub(crate) fn start(kind: &Kind) -> Result<Self, Box<dyn Error>> {
        let dir = TempDir::new()?;
        let (mut command, port) = kind.command(dir.path())?;
        // A process group of its own, because NSD consists of several processes.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let address = match port {
            Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            None => {
                let mut line = String::new();
                BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
                line.trim().parse()?
            }
        };
        let running = Self { child, address, _dir: dir };
        running.wait_for_an_answer().map_err(|error| format!("{} does not answer: {error}", kind.name()))?;
        Ok(running)
    }

    fn wait_for_an_answer(&self) -> io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let deadline = Instant::now() + START;
        loop {
            let mut reply = [0; 512];
            match socket.send(&question(1, 0)).and_then(|_| socket.recv(&mut reply)) {
                Ok(length) if reply[..length].ends_with(&address_of(0).octets()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                _ => {}
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time used so far by the server's processes.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut ticks = 0;
        for entry in fs::read_dir("/proc")? {
            // A process that has ended in the meantime, or an entry that is not a process, has no such file.
            let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
            // After the name, which may contain any character: state, parent, group, and at 11 and 12 user and system
            // time.
            let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
            let fields: Vec<&str> = rest.split(' ').collect();
            if fields[2] == self.child.id().to_string() {
                ticks += fields[11].parse().unwrap_or(0) + fields[12].parse().unwrap_or(0);
            }
        }
        Ok(TICK * ticks)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id() as i32);
        // Errors are ignored: the processes are either ended here or gone already.
        let _ = killpg(group, Signal::SIGTERM);
        let _ = self.child.wait();
        let _ = killpg(group, Signal::SIGKILL);
    }
}

/// Runs the server on one thread until the process is ended.
pub(crate) fn serve_here() -> Result<(), Box<dyn Error>> {
    let tld = Tld::default();
    let names = (0..NAMES).map(|n| Ok((Hostname::parse(&name_of(n))?, address_of(n))));
    let zone = Zone::build(&names.collect::<Result<NameTable, Box<dyn Error>>>()?, &tld, 1);
    let sockets = Sockets::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    println!("{}", sockets.address());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let zones = CurrentZone::new(zone);
    Ok(runtime.block_on(serve(sockets, zones, Arc::default(), std::future::pending()))?)
}
