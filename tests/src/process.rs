//! A role in a thread of its own, and its HTTP interface.

use std::{
    future::Future,
    net::SocketAddr,
    thread::{self, JoinHandle},
};

use actix_rt::System;
use boshy_supervision::ExitReason;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{Http, Reply, log::Log, meanwhile, until, until_some};

/// A running role. Dropping it stops it.
pub struct Process {
    name: String,
    http: Http,
    log: Log,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<ExitReason>>,
}

impl Process {
    /// Runs a role until it is told to stop.
    pub(crate) fn start<R, F>(name: &str, http: SocketAddr, role: F) -> Self
    where
        F: FnOnce(oneshot::Receiver<()>) -> R + Send + 'static,
        R: Future<Output = ExitReason>,
    {
        let (stop, stopped) = oneshot::channel();
        let log = Log::default();
        let of_thread = log.clone();
        let run = move || {
            let _captured = of_thread.capture();
            System::new().block_on(role(stopped))
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
        Self { name: name.to_owned(), http: Http::new(http), log, stop: Some(stop), thread: Some(thread) }
    }

    /// Stops the role like SIGTERM, and returns how it ended.
    pub(crate) fn stop(&mut self) -> Option<ExitReason> {
        self.stop = None;
        self.ended()
    }

    /// Waits for the end of the role.
    pub(crate) fn ended(&mut self) -> Option<ExitReason> {
        self.thread.take().map(|thread| thread.join().expect("a role does not panic as a whole"))
    }

    fn actor(&self, name: &str) -> Option<Value> {
        let children = self.http.get("/status").ok()?.json()["actors"]["children"].take();
        children.as_array()?.iter().find(|child| child["name"] == name).cloned()
    }
}

impl Drop for Process {
    #[expect(clippy::print_stdout, reason = "shown with the test that fails, and only then")]
    fn drop(&mut self) {
        let ended = self.stop();
        if thread::panicking() {
            println!("== {} {ended:?}\n{}", self.name, self.log.text());
        }
    }
}

/// Operations on a running role.
pub trait Operated: Sized {
    /// The role.
    fn process(&self) -> &Process;

    /// Sends a request by HTTP.
    ///
    /// # Panics
    /// When there is no answer.
    fn get(&self, path: &str) -> Reply {
        self.process().http.get(path).unwrap()
    }

    /// Its HTTP client.
    fn http(&self) -> &Http {
        &self.process().http
    }

    /// `/status`.
    fn status(&self) -> Value {
        self.get("/status").json()
    }

    /// Its log so far.
    fn log(&self) -> String {
        self.process().log.text()
    }

    /// Waits until `/status` satisfies a condition.
    fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> &Self {
        until(what, || self.status(), wanted);
        self
    }

    /// Waits until `/readyz` reports readiness.
    fn is_ready(&self) -> &Self {
        until("it is ready", || self.get("/readyz"), |reply| reply.status == 200);
        self
    }

    /// Waits until `/readyz` reports that it is not ready for this reason.
    fn waits_for(&self, reason: &str) -> &Self {
        until("it waits", || self.get("/readyz"), |reply| reply.status == 503 && reply.body.contains(reason));
        self
    }

    /// Runs an action while `/readyz` is requested repeatedly and always reports readiness.
    fn stays_ready(&self, act: impl FnOnce()) -> &Self {
        let http = self.http();
        let ready = Reply { status: 200, body: "ready\n".to_owned() };
        meanwhile(|| assert_eq!(http.get("/readyz").unwrap(), ready), act);
        self
    }

    /// Waits until `/metrics` has this line.
    fn measures(&self, line: &str) -> &Self {
        until(line, || self.get("/metrics").body, |page| page.lines().any(|shown| shown == line));
        self
    }

    /// Makes an actor panic and waits until it runs again. The answer to the request may be lost when the actor is the
    /// HTTP server.
    fn panics(&self, actor: &str) -> &Self {
        let process = self.process();
        let before = until_some("the actor is shown", || process.actor(actor));
        let restarts = before["restarts"].as_u64().unwrap() + 1;
        let told = process.http.post(&format!("/debug/panic/{actor}"));
        assert!(told.as_ref().map_or(actor == "http_server", |reply| reply.status == 200), "{actor}: {told:?}");
        until(
            "the actor runs again",
            || process.actor(actor),
            |shown| shown.as_ref().is_some_and(|shown| shown["restarts"] == restarts && shown["state"] == "running"),
        );
        self
    }
}
