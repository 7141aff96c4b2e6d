//! What an Envoy does at a tunnel end.

use std::{future::poll_fn, net::SocketAddr, path::Path, time::Duration};

use boshy_tunnel_end::{Parts, TunnelEnd};
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderName, Method, Request, StatusCode};
use tempfile::TempDir;
use tokio::{net::UnixStream, task::JoinHandle};

const PROGRAM: HeaderName = HeaderName::from_static("x-program");
/// Octets that a stream takes before its reader reads.
const WINDOW: u32 = 100_000;

/// An Envoy with one connection to its tunnel end.
pub(crate) struct Envoy {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    _end: JoinHandle<()>,
    _folder: TempDir,
}

/// A tunnel that is open.
#[derive(Debug)]
pub(crate) struct Tunnel {
    to_program: SendStream<Bytes>,
    from_program: RecvStream,
}

pub(crate) fn start(socket: &Path) -> TunnelEnd {
    TunnelEnd::start(&Parts { socket: socket.to_owned(), program: PROGRAM, threads: 2 }).unwrap()
}

/// A tunnel end, and an Envoy that is connected with it.
pub(crate) async fn site() -> Envoy {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("programs.sock");
    let _end = tokio::spawn(start(&socket).serve());
    let stream = UnixStream::connect(socket).await.unwrap();
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(WINDOW).initial_connection_window_size(1 << 30).max_concurrent_reset_streams(10_000);
    let (requests, connection) = settings.handshake(stream).await.unwrap();
    let connection = tokio::spawn(async move { drop(connection.await) });
    Envoy { requests, connection, _end, _folder: folder }
}

impl Envoy {
    /// Opens a tunnel to a program, or returns how that is answered.
    pub(crate) async fn opens(&mut self, program: SocketAddr) -> Result<Tunnel, StatusCode> {
        self.asks(Method::CONNECT, &[&program.to_string()]).await
    }

    /// The same with any method and any headers.
    pub(crate) async fn asks(&mut self, method: Method, programs: &[&str]) -> Result<Tunnel, StatusCode> {
        let (answer, to_program) = self.begins(method, programs).await;
        let answer = answer.await.unwrap();
        match answer.status() {
            StatusCode::OK => Ok(Tunnel { to_program, from_program: answer.into_body() }),
            status => Err(status),
        }
    }

    /// Opens tunnels, and resets them without waiting for the answers.
    pub(crate) async fn opens_and_resets(&mut self, program: SocketAddr, count: usize) {
        let mut begun = Vec::new();
        for _ in 0..count {
            begun.push(self.begins(Method::CONNECT, &[&program.to_string()]).await);
        }
        for (_, stream) in &mut begun {
            stream.send_reset(Reason::CANCEL);
        }
    }

    /// Waits until all that was said in its tunnels is on its way: what it sends later has arrived.
    pub(crate) async fn has_sent(&mut self) {
        self.asks(Method::CONNECT, &[]).await.unwrap_err();
    }

    async fn begins(&mut self, method: Method, programs: &[&str]) -> (ResponseFuture, SendStream<Bytes>) {
        poll_fn(|cx| self.requests.poll_ready(cx)).await.unwrap();
        let target = if method == Method::CONNECT { "web.g.d.boshy:80" } else { "http://web.g.d.boshy:80/" };
        let mut request = Request::builder().method(method).uri(target);
        for program in programs {
            request = request.header(PROGRAM, *program);
        }
        self.requests.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Ends its connection, as the kernel does with that of a process that is killed.
    pub(crate) fn dies(&self) {
        self.connection.abort();
    }
}

impl Tunnel {
    pub(crate) fn says(&mut self, octets: &'static [u8]) {
        self.to_program.send_data(Bytes::from_static(octets), false).unwrap();
    }

    /// Ends the caller's half.
    pub(crate) fn ends(&mut self) {
        self.to_program.send_data(Bytes::new(), true).unwrap();
    }

    /// Resets the stream, as a caller's Envoy does whose program has reset.
    pub(crate) fn is_reset(&mut self) {
        self.to_program.send_reset(Reason::CANCEL);
    }

    /// Sends so many octets, as the tunnel takes them, and ends.
    pub(crate) async fn pours(mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            self.to_program.reserve_capacity(left.min(16 << 10));
            if self.to_program.capacity() == 0 {
                poll_fn(|cx| self.to_program.poll_capacity(cx)).await.unwrap().unwrap();
            }
            let octets = self.to_program.capacity().min(left);
            self.to_program.send_data(vec![7; octets].into(), octets == left).unwrap();
            left -= octets;
        }
        // The program's half has to end as well.
        let _ = self.heard().await;
    }

    /// Waits until the stream admits no more, of which nothing has been read.
    pub(crate) async fn is_full(&mut self) {
        while self.from_program.flow_control().available_capacity() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Reads exactly this.
    pub(crate) async fn hears(&mut self, octets: &[u8]) {
        let mut heard = Vec::new();
        while heard.len() < octets.len() {
            heard.extend(self.next().await.unwrap().unwrap());
        }
        assert_eq!(heard, octets);
    }

    /// Everything until the end of the program's half, and the reason of its reset.
    pub(crate) async fn heard(&mut self) -> (Vec<u8>, Option<Reason>) {
        let mut heard = Vec::new();
        loop {
            match self.next().await {
                Some(Ok(octets)) => heard.extend(octets),
                Some(Err(error)) => return (heard, error.reason()),
                None => return (heard, None),
            }
        }
    }

    /// Waits for the stream's reset.
    pub(crate) async fn reset(&mut self) -> Reason {
        poll_fn(|cx| self.to_program.poll_reset(cx)).await.unwrap()
    }

    async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let octets = self.from_program.data().await;
        if let Some(Ok(octets)) = &octets {
            let _ = self.from_program.flow_control().release_capacity(octets.len());
        }
        octets
    }
}
