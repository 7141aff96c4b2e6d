//! The embedded director on the network: a thread that parses requests, passes them to the pure [`DirectorApi`] and
//! writes its answers.
//!
//! Faults that concern the connection rather than the answer are implemented here. To refuse connections, the listener
//! is closed and bound again later. So the thread must run in the network namespace of the listener, which is that of
//! the caller that starts it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use actix_http::{
    HttpMessage, HttpService, Response, StatusCode,
    body::{BodySize, BoxBody, MessageBody, SizedStream},
    header::{self, HeaderValue},
};
use actix_server::{Server, ServerHandle};
use boshy_mesh::Timestamp;
use futures::StreamExt;
use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};

use super::{
    fault::{Fault, Faults},
    request::{Answer, Kind, Request},
    routes::{self, DirectorApi},
    world::{Job, WorldView},
};

/// How long to try to listen again after connections were refused: another process may hold the port for a moment.
const REBIND_PATIENCE: Duration = Duration::from_secs(10);

/// State shared by the server's thread and its handle.
pub(super) struct Shared {
    pub(super) director: Mutex<DirectorApi>,
    pub(super) faults: Mutex<Faults>,
    pub(super) requests: Mutex<BTreeMap<&'static str, u64>>,
    pub(super) view: watch::Sender<Arc<WorldView>>,
    pub(super) max_body: usize,
    pub(super) is_up: AtomicBool,
    /// Queue of long-running tasks; `None` on paper.
    pub(super) jobs: Option<mpsc::UnboundedSender<Job>>,
}

/// A command to the thread.
pub(super) enum Command {
    Refuse(std_mpsc::Sender<()>),
    Accept(std_mpsc::Sender<()>),
}

/// Takes a lock even if another holder panicked: in tests, the original failure should be the visible one.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the time of day, which a director tells")]
pub(super) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

impl Shared {
    /// Accesses the director and notifies observers.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut DirectorApi) -> R) -> R {
        let mut director = lock(&self.director);
        let result = act(&mut director);
        for job in director.world.take_queue() {
            // An error means that the workers have ended, which happens when the director ends.
            let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
        }
        let view = director.world.view();
        self.view.send_if_modified(|current| {
            let changed = **current != view;
            if changed {
                *current = Arc::new(view);
            }
            changed
        });
        result
    }

    async fn answer(&self, request: &Request) -> (Answer, bool) {
        let label = routes::label(request);
        *lock(&self.requests).entry(label).or_default() += 1;
        let faults = lock(&self.faults).hit(label, request);
        for fault in &faults {
            if let Fault::Delay(delay) = fault {
                tokio::time::sleep(*delay).await;
            }
        }
        let late =
            faults.iter().find_map(|fault| if let Fault::LateConfig(within) = fault { Some(*within) } else { None });
        let answer = match late {
            Some(within) => self.answer_late(request, within).await,
            None => self.with(|director| director.answer(request, now())),
        };
        let truncated = faults.contains(&Fault::TruncatedBody);
        (faults.iter().fold(answer, |answer, fault| fault.spoil(answer)), truncated)
    }
}

impl Shared {
    async fn answer_late(&self, request: &Request, within: Duration) -> Answer {
        let (answer, hidden) = self.with(|director| {
            let before = director.world.configs.last_id();
            let answer = director.answer(request, now());
            (answer, director.world.configs.hide_after(before))
        });
        tokio::time::sleep(within.mul_f64(rand::random())).await;
        self.with(|director| director.world.configs.show(&hidden));
        answer
    }
}

/// Runs the server until the commands end. Reports through `ready` whether it listens.
pub(super) fn run(
    listeners: Vec<TcpListener>,
    config: &ServerConfig,
    shared: &Arc<Shared>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    ready: &std_mpsc::Sender<io::Result<()>>,
) {
    actix_rt::System::new().block_on(async move {
        let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let mut server = match launch(listeners, config, shared) {
            Ok(server) => Some(server),
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        while let Some(command) = commands.recv().await {
            match command {
                Command::Refuse(done) => {
                    shared.is_up.store(false, Ordering::SeqCst);
                    stop(&mut server).await;
                    let _ = done.send(());
                }
                Command::Accept(done) => {
                    shared.is_up.store(true, Ordering::SeqCst);
                    if server.is_none() {
                        server = bind_again(&addresses)
                            .await
                            .and_then(|listeners| launch(listeners, config, shared))
                            .inspect_err(|error| tracing::error!(%error, ?addresses, "cannot listen again"))
                            .ok();
                    }
                    let _ = done.send(());
                }
            }
        }
        stop(&mut server).await;
    });
}

async fn stop(server: &mut Option<ServerHandle>) {
    if let Some(server) = server.take() {
        server.stop(false).await;
    }
}

async fn bind_again(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind_one_again(*address).await?);
    }
    Ok(listeners)
}

async fn bind_one_again(address: SocketAddr) -> io::Result<TcpListener> {
    let deadline = Instant::now() + REBIND_PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}

fn launch(listeners: Vec<TcpListener>, config: &ServerConfig, shared: &Arc<Shared>) -> io::Result<ServerHandle> {
    let mut server = Server::build().workers(1).disable_signals();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let (config, shared) = (config.clone(), Arc::clone(shared));
        server = server.listen("director", listener, move || {
            let shared = Arc::clone(&shared);
            let service = move |request: actix_http::Request| serve(Arc::clone(&shared), request);
            HttpService::build().h1(service).rustls_0_23(config.clone())
        })?;
    }
    let server = server.run();
    let handle = server.handle();
    #[expect(
        clippy::disallowed_methods,
        reason = "a stage for tests: a server that panicked fails the test that asks it"
    )]
    actix_rt::spawn(server);
    Ok(handle)
}

async fn serve(shared: Arc<Shared>, mut request: actix_http::Request) -> Result<Response<BoxBody>, Infallible> {
    if !shared.is_up.load(Ordering::SeqCst) {
        // The server has been stopped and takes a moment to close its connections: until then, no request is answered.
        std::future::pending::<()>().await;
    }
    let Some(body) = read_body(&mut request, shared.max_body).await else {
        return Ok(written(Answer::text(413, Kind::Html, ""), false));
    };
    let (answer, truncated) = shared.answer(&value_of(&request, body)).await;
    Ok(written(answer, truncated))
}

async fn read_body(request: &mut actix_http::Request, limit: usize) -> Option<Vec<u8>> {
    let mut payload = request.take_payload();
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.ok()?;
        if body.len() + chunk.len() > limit {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

fn value_of(request: &actix_http::Request, body: Vec<u8>) -> Request {
    let text =
        |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let range = text(header::RANGE);
    let range_from = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let value = Request {
        method: request.method().to_string(),
        host: text(header::HOST).unwrap_or_default(),
        authorization: text(header::AUTHORIZATION),
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        range_from,
        body,
        ..Request::default()
    };
    value.with_target(request.uri().path_and_query().map_or("/", |target| target.as_str()))
}

fn written(answer: Answer, truncated: bool) -> Response<BoxBody> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = if truncated { half(answer.body) } else { BoxBody::new(answer.body) };
    let mut response = Response::with_body(status, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.kind.header()));
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"BOSH Director\""));
    let more = [(header::LOCATION, answer.location), (header::CONTENT_RANGE, answer.content_range)];
    for (name, text) in more.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    response
}

/// A body that announces twice its length.
fn half(body: Vec<u8>) -> BoxBody {
    let announced = 2 * body.len().max(1) as u64;
    let chunk = futures::stream::iter([Ok::<_, io::Error>(body.into())]);
    let stream = SizedStream::new(announced, chunk);
    debug_assert_eq!(stream.size(), BodySize::Sized(announced));
    BoxBody::new(stream)
}
