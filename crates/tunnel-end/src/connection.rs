//! One connection of Envoy: each of its streams is a tunnel.

use std::{net::SocketAddr, os::unix::net};

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{Builder, SendResponse},
};
use http::{HeaderName, Method, Request, Response, StatusCode};
use tokio::{net::UnixStream, task::JoinSet};
use tracing::debug;

use crate::{Parts, dial::dial, tunnel};

/// Streams that Envoy may open and reset before they are looked at. By default, more than 20 are taken for an attack,
/// and the connection ends with all its tunnels. Envoy is no attacker, and holds its own limits against callers.
const MOST_RESET: usize = 1 << 16;

/// Serves a connection until Envoy closes it.
#[expect(clippy::disallowed_methods, reason = "a panic ends the one tunnel, which its caller sees as a reset")]
pub(crate) async fn serve(stream: net::UnixStream, program: HeaderName) {
    let Ok(stream) = UnixStream::from_std(stream) else { return };
    let handshake = Builder::new()
        .initial_window_size(Parts::STREAM_WINDOW)
        .initial_connection_window_size(Parts::MOST_STREAMS * Parts::STREAM_WINDOW)
        .max_concurrent_streams(Parts::MOST_STREAMS)
        .max_pending_accept_reset_streams(MOST_RESET)
        .max_concurrent_reset_streams(MOST_RESET)
        .max_local_error_reset_streams(None)
        .handshake::<_, Bytes>(stream);
    let mut connection = match handshake.await {
        Ok(connection) => connection,
        Err(error) => return debug!(%error, "Envoy makes no connection of HTTP/2"),
    };
    let mut tunnels = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, answer))) => drop(tunnels.spawn(open(request, answer, program.clone()))),
                Some(Err(error)) => debug!(%error, "a connection of Envoy ends"),
                None => break,
            },
            Some(_) = tunnels.join_next() => {}
        }
    }
    // Their streams have ended, which each of them still has to tell its program.
    tunnels.join_all().await;
}

/// Connects a stream with its program. Otherwise it is answered why not, and the caller's Envoy tries another instance.
async fn open(request: Request<RecvStream>, mut answer: SendResponse<Bytes>, program: HeaderName) {
    let answer_with = |answer: &mut SendResponse<Bytes>, status, ends| {
        let mut head = Response::new(());
        *head.status_mut() = status;
        // Fails when Envoy has given up meanwhile.
        answer.send_response(head, ends)
    };
    let dialled = match asked(&request, &program) {
        Some(at) => dial(at).await,
        None => Err(StatusCode::BAD_REQUEST),
    };
    match dialled {
        Ok(program) => {
            if let Ok(to_caller) = answer_with(&mut answer, StatusCode::OK, false) {
                tunnel::carry(program, request.into_body(), to_caller).await;
            }
        }
        Err(status) => drop(answer_with(&mut answer, status, true)),
    }
}

/// The program that is meant. `None` for a request that does not say it, or says it twice.
fn asked(request: &Request<RecvStream>, program: &HeaderName) -> Option<SocketAddr> {
    let mut values = request.headers().get_all(program).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    (request.method() == Method::CONNECT).then_some(())?;
    value.to_str().ok()?.parse().ok()
}
