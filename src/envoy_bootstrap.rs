//! `boshy envoy-bootstrap`.

use std::{
    fs,
    io::{self, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use boshy_config::{EnvoySettings, NodeSettings};
use boshy_vm::{Sources, Wanted};
use boshy_xds::{Bootstrap, EnvoyVersion, Flavour, PeerTimeout};
use clap::ValueEnum;
use nix::sys::resource::{Resource, getrlimit};

/// Arguments of `boshy envoy-bootstrap`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  boshy envoy-bootstrap --config config/agent.example.yml > bootstrap.json
  envoy --config-path bootstrap.json --disable-hot-restart")]
pub(crate) struct Args {
    /// Settings file of the agent (YAML); of its keys, only `node`, `ads_socket` and `envoy` are needed
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Variant of the xDS protocol that Envoy uses
    #[arg(long, value_enum, default_value_t = Protocol::Delta)]
    protocol: Protocol,
    /// Output of `envoy --version`; the default is the newest Envoy that this boshy knows
    #[arg(long, value_name = "TEXT", default_value = "")]
    envoy_version: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    /// Incremental: a change sends the changed resources
    Delta,
    /// State of the world: a change sends all resources of its type
    Sotw,
}

/// Whether Envoy will be able to bind the health socket. Envoy exits when it cannot bind a socket, and then carries no
/// traffic; without this socket only its health check is missing.
#[expect(clippy::print_stderr, reason = "errors become text here, and standard output carries the bootstrap")]
fn can_be_bound(path: &Path) -> bool {
    // An earlier Envoy's socket, which the next Envoy would replace as well.
    let _ = fs::remove_file(path);
    let bound = UnixListener::bind(path).and_then(|_| fs::remove_file(path));
    if let Err(error) = &bound {
        eprintln!("{} cannot be bound: {error}: Envoy starts without it", path.display());
    }
    bound.is_ok()
}

#[expect(clippy::print_stderr, reason = "errors become text here, and standard output carries the bootstrap")]
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = EnvoySettings::load(&args.config)?;
    let flavour = match args.protocol {
        Protocol::Delta => Flavour::Delta,
        Protocol::Sotw => Flavour::Sotw,
    };
    // Envoy inherits the limit from the process that starts it, as this command does.
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE).context("look how many files may be open")?;
    let NodeSettings { ip, id, records, .. } = settings.node.clone();
    // Envoy needs no address of its own: the agent configures any process that can open its socket. The node id shows
    // the VM's address where it is known.
    let address = Sources::new(Wanted { given: ip, id, records }).address(settings.vip_range).ok();
    let bootstrap = Bootstrap {
        node: settings.node.id_at(address),
        ads_socket: settings.ads_socket,
        admin: settings.admin,
        flavour,
        version: EnvoyVersion::parse(&args.envoy_version),
        peer_timeout: settings.peer_timeout.and_then(PeerTimeout::new),
        open_files,
        health_socket: settings.health_socket.filter(|path| can_be_bound(path)),
    };
    let mut json = bootstrap.to_json();
    // Envoy exits when it cannot bind its admin port, and every connection through it ends. Without the admin interface
    // it only shows less.
    if TcpListener::bind(bootstrap.admin).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
        eprintln!(
            "{} is taken: Envoy starts without its admin endpoint, which the next start tries again",
            bootstrap.admin
        );
        json.as_object_mut().map(|fields| fields.remove("admin"));
    }
    match writeln!(io::stdout(), "{json:#}") {
        // A reader that closes the pipe early is not an error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("write the bootstrap")?,
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}
