//! An HTTP/1.1 client with bounded answers, over TCP or rustls. It is hyper's client with pooled connections.
//! [`send_to_socket`] asks a server at a Unix socket.
//!
//! It follows no redirect, keeps no cookie and decompresses nothing. It sends a request once; only one that was not
//! written yet, because a pooled connection turned out to be closed, is sent on another connection. It has no time-out
//! but the one for connecting: whoever sends a request gives it one.
//!
//! Why not awc: `docs/adr/0024-http-client.md`.

#![forbid(unsafe_code)]

mod error;
mod trust;
mod unix;

use std::{io, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

pub use error::HttpError;
pub use trust::{BadCa, trusting};
pub use unix::send_to_socket;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(15);

/// The body of a request.
pub type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is in memory.
pub fn whole(body: impl Into<Bytes>) -> RequestBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A client. Clones share its connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, RequestBody>,
}

impl HttpClient {
    /// A client for `http` URLs. No certificate is trusted, so that an `https` URL fails.
    pub fn plain(connect_timeout: Duration) -> Self {
        Self::new(trusting(None).expect("no certificates are no bad ones"), connect_timeout)
    }

    /// A client for `http` and `https` URLs. The configuration says which certificates are trusted.
    pub fn new(tls: Arc<ClientConfig>, connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(HttpsConnector::from((tcp, tls)));
        Self { client }
    }

    /// Sends a request, whose URI is absolute, and reads the whole answer, of any status.
    ///
    /// # Errors
    /// When there is no whole answer, or its body is larger than `max_body` bytes.
    pub async fn send(&self, request: Request<RequestBody>, max_body: usize) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = self.client.request(request).await.map_err(|error| error::unanswered(&error))?.into_parts();
        Ok(Response::from_parts(head, read(body, max_body).await?))
    }
}

/// The whole body of an answer.
async fn read(body: Incoming, max_body: usize) -> Result<Bytes, HttpError> {
    if body.size_hint().lower() > max_body as u64 {
        return Err(HttpError::TooLarge { limit: max_body });
    }
    let body = Limited::new(body, max_body).collect().await.map_err(|error| error::broken_off(&*error, max_body))?;
    Ok(body.to_bytes())
}

#[cfg(test)]
mod tests;
