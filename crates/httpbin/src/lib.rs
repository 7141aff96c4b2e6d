//! `boshy httpbin`: the job `example-httpbin`, a small server that reports the request it received and the instance it
//! is.
//!
//! Answers have the format of go-httpbin (query parameters and headers are lists, a body that is not text becomes a
//! data URL), with an additional field `instance` and a header `X-Instance`. Multipart bodies are not parsed. The cost
//! of a request is bounded: 1 MiB of body, 100 KiB of bytes, ten seconds of delay.

mod answer;
mod drain;
mod routes;

use std::{
    fs,
    future::Future,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use actix_web::{App, HttpServer, middleware::DefaultHeaders, web};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

/// Directory of BOSH's files about the instance.
const INSTANCE: &str = "/var/vcap/instance";
/// Time in seconds to finish requests after SIGTERM; the longest takes ten seconds.
const DRAIN_SECONDS: u64 = 11;
/// Time for the next request on a connection: longer than a busy machine leaves a client or a proxy waiting for its turn.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Run the sample service: answer HTTP requests with the request itself and the name of the instance
///
/// Serves go-httpbin's /get, /post, /anything, /headers, /ip, /status/N, /delay/N and /bytes/N. After SIGTERM it
/// finishes the requests of connected clients before it ends.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  boshy httpbin --port 9001
  boshy httpbin --port 9002 --listen 127.0.0.1 --instance banana/1")]
pub struct HttpbinCommand {
    /// Port to listen on
    #[arg(long)]
    pub port: u16,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    pub listen: IpAddr,
    /// Name of this instance in responses; the default is GROUP/UUID from /var/vcap/instance, or the host name
    #[arg(long)]
    pub instance: Option<String>,
}

/// The operating system refused an operation.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct HttpbinError {
    operation: String,
    #[source]
    source: io::Error,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot listen on the address.
pub fn run(command: &HttpbinCommand) -> Result<(), HttpbinError> {
    let instance = match &command.instance {
        Some(instance) => instance.clone(),
        None => instance_name(Path::new(INSTANCE))?,
    };
    let address = SocketAddr::new(command.listen, command.port);
    let listener = TcpListener::bind(address).map_err(failed(format!("listening on {address}")))?;
    actix_rt::System::new().block_on(async {
        let receive = |kind| signal(kind).map_err(failed("receiving signals"));
        let (mut terminate, mut interrupt) = (receive(SignalKind::terminate())?, receive(SignalKind::interrupt())?);
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve(&listener, instance, shutdown).await
    })
}

async fn serve(
    listener: &TcpListener,
    instance: String,
    shutdown: impl Future<Output = ()>,
) -> Result<(), HttpbinError> {
    let prepared = listener.try_clone().and_then(|listener| {
        let server = HttpServer::new(move || application(instance.clone()));
        Ok(server
            .workers(1)
            .keep_alive(KEEP_ALIVE)
            .shutdown_timeout(DRAIN_SECONDS)
            .disable_signals()
            .listen(listener)?
            .run())
    });
    let server = prepared.map_err(failed("preparing the server"))?;
    let handle = server.handle();
    let drained = async {
        shutdown.await;
        drain::drain(listener, &handle).await
    };
    tokio::select! {
        served = server => served.map_err(failed("serving HTTP")),
        gone = drained => gone.map_err(failed("ending in order")),
    }
}

fn application(
    instance: String,
) -> App<
    impl actix_web::dev::ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new()
        .wrap(DefaultHeaders::new().add(("X-Instance", instance.as_str())))
        .app_data(web::Data::new(routes::Instance(instance)))
        .app_data(web::PayloadConfig::new(routes::LARGEST_BODY))
        .configure(routes::mount)
}

/// The instance's name. BOSH keeps no file with the index, so the name contains the UUID instead.
fn instance_name(directory: &Path) -> Result<String, HttpbinError> {
    let read = |name: &str| -> io::Result<String> { Ok(fs::read_to_string(directory.join(name))?.trim().to_owned()) };
    match (read("name"), read("id")) {
        (Ok(name), Ok(id)) => Ok(format!("{name}/{id}")),
        _ => {
            let host = nix::unistd::gethostname().map_err(failed("asking for the host's name"))?;
            Ok(host.to_string_lossy().into_owned())
        }
    }
}

fn failed<E: Into<io::Error>>(operation: impl Into<String>) -> impl FnOnce(E) -> HttpbinError {
    move |error| HttpbinError { operation: operation.into(), source: error.into() }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
