//! A request to a server at a Unix socket, over a connection of its own.

use std::path::Path;

use http::{Request, Response, header};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::{HttpError, RequestBody, error, read};

/// Sends a request, whose URI is a path, and reads the whole answer, of any status. It has no time-out.
///
/// # Errors
/// When there is no whole answer, or its body is larger than `max_body` bytes.
pub async fn send_to_socket(
    socket: &Path,
    mut request: Request<RequestBody>,
    max_body: usize,
) -> Result<Response<Bytes>, HttpError> {
    // RFC 9112, section 3.2: every request has this field.
    request.headers_mut().entry(header::HOST).or_insert(header::HeaderValue::from_static("localhost"));
    let stream = UnixStream::connect(socket).await.map_err(HttpError::Connect)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error::broken(&error))?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(|error| error::broken(&error))?.into_parts();
        Ok(Response::from_parts(head, read(body, max_body).await?))
    };
    let (mut answer, mut connection) = (Box::pin(answer), Box::pin(connection));
    tokio::select! {
        answer = &mut answer => answer,
        // The end of the connection is also told to who waits for the answer, which may be there already.
        _ = &mut connection => answer.await,
    }
}
