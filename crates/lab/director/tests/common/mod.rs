//! A director, and a client of it, for one test.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]

use std::{
    collections::BTreeMap,
    future::Future,
    net::TcpListener,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use boshy_director::client::{ClientSettings, Credentials, DirectorClient};
use boshy_lab_director::{EmbeddedDirector, EmbeddedSettings, Handle, LAB_CLOUD_CONFIG, World};
use boshy_mesh::Timestamp;

/// Runs a test on the runtime that the client needs.
pub(crate) fn on_actix<T>(test: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(test)
}

pub(crate) fn director() -> Handle {
    director_with(EmbeddedSettings::default(), true)
}

pub(crate) fn director_with(settings: EmbeddedSettings, record_events: bool) -> Handle {
    let world = World::new(LAB_CLOUD_CONFIG, record_events, 1).unwrap();
    EmbeddedDirector::start(TcpListener::bind("127.0.0.1:0").unwrap(), settings, world).unwrap()
}

/// Settings with short time-outs, so that failures are quick.
pub(crate) fn settings(director: &Handle) -> ClientSettings {
    let usual = ClientSettings::new(director.url(), Some(director.ca_pem().to_owned()), director.credentials());
    ClientSettings { timeout: Duration::from_secs(5), backoff: Duration::from_millis(1), ..usual }
}

pub(crate) fn client(director: &Handle) -> DirectorClient {
    DirectorClient::new(&settings(director)).unwrap()
}

pub(crate) fn client_as(director: &Handle, credentials: Credentials) -> DirectorClient {
    DirectorClient::new(&ClientSettings { credentials, ..settings(director) }).unwrap()
}

/// A manifest of one job in one group, which exposes this port.
pub(crate) fn manifest(name: &str, instances: u32, port: u32) -> String {
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/manifests/one_job.yml"))
        .replace("NAME", name)
        .replace("INSTANCES", &instances.to_string())
        .replace("EXPOSE_PORTS", &format!("[{{name: http, number: {port}}}]"))
}

/// The clock that the embedded director uses for its events.
#[expect(clippy::disallowed_methods, reason = "the time of day, by which events are dated")]
pub(crate) fn wall_clock() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Requests by route since an earlier count.
pub(crate) fn since(director: &Handle, before: &BTreeMap<&'static str, u64>) -> Vec<String> {
    let now = director.requests();
    let news = now.iter().map(|(route, count)| (route, count - before.get(route).unwrap_or(&0)));
    news.filter(|(_, count)| *count > 0).map(|(route, count)| format!("{count} {route}")).collect()
}

/// An error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}
