//! `boshy httpbin`: the job `example-httpbin`, a small server that tells what it was asked and which instance it is.
//!
//! Answers have the shape of go-httpbin's (query parameters and headers are lists, a body that is no text comes as a data
//! URL), with one field more, `instance`, and a header `X-Instance`. Multipart bodies are not taken apart. What a request
//! can cost is bounded: 1 MiB of body, 100 KiB of bytes, ten seconds of delay.

mod answer;
mod routes;

use std::{fs, io, net::IpAddr, path::Path};

use actix_web::{App, HttpServer, middleware::DefaultHeaders, web};
use clap::Args;

/// BOSH's files about the instance.
const INSTANCE: &str = "/var/vcap/instance";
/// How long requests may go on after SIGTERM; the longest takes ten seconds.
const DRAIN_SECONDS: u64 = 11;

/// Answer HTTP requests with what was asked, and by whom it was answered
///
/// Serves go-httpbin's /get, /post, /anything, /headers, /ip, /status/N, /delay/N and /bytes/N. SIGTERM lets requests
/// finish first.
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
    /// Name to answer with; without it, GROUP/UUID from /var/vcap/instance, or the host name
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
/// When the address cannot be listened on.
pub fn run(command: &HttpbinCommand) -> Result<(), HttpbinError> {
    let instance = match &command.instance {
        Some(instance) => instance.clone(),
        None => instance_name(Path::new(INSTANCE))?,
    };
    let address = (command.listen, command.port);
    let server = HttpServer::new(move || application(instance.clone()))
        .workers(1)
        .shutdown_timeout(DRAIN_SECONDS)
        .bind(address)
        .map_err(failed(format!("listening on {}:{}", command.listen, command.port)))?;
    actix_rt::System::new().block_on(server.run()).map_err(failed("serving HTTP"))
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

/// BOSH keeps no file with the index, so the uuid stands for it.
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
mod tests;
