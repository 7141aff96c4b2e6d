//! One request and its answer: time-outs, size, retries. This code knows nothing about directors.

use secrecy::{ExposeSecret, SecretString};
use std::{
    cell::Cell,
    io,
    pin::{Pin, pin},
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use awc::{
    Client, ClientRequest, SendClientRequest,
    body::SizedStream,
    error::{PayloadError, SendRequestError},
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HttpDate},
    },
};
use boshy_backoff::Backoff;
use futures::{Stream, TryStreamExt};
use tokio::time::Instant;
use url::Url;

use super::{Cause, ClientSettings, SettingsError, TransportError, settings};

/// A request without its body.
pub(super) struct Head<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) authorization: Option<&'a SecretString>,
    /// One additional header.
    pub(super) header: Option<(HeaderName, &'a str)>,
}

/// A body of known length that is read while it is sent.
pub(super) struct Pieces {
    pub(super) length: u64,
    pub(super) pieces: Pin<Box<dyn Stream<Item = io::Result<Vec<u8>>>>>,
}

/// An answer of any status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    /// The server's clock, in seconds since 1970 (RFC 9110 6.6.1).
    pub(super) date: Option<i64>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Exchange {
    client: Client,
    timeout: Duration,
    max_body: usize,
    attempts: u32,
    backoff: Backoff,
}

impl Exchange {
    pub(super) fn new(settings: &ClientSettings, url: &Url) -> Result<Self, SettingsError> {
        let connector = awc::Connector::new().timeout(settings.timeout).rustls_0_23(settings::tls(settings, url)?);
        let client = Client::builder().connector(connector).disable_redirects().disable_timeout().finish();
        Ok(Self {
            client,
            timeout: settings.timeout,
            max_body: settings.max_body,
            attempts: settings.attempts.max(1),
            backoff: backoff(settings.backoff),
        })
    }

    /// Sends a request that may be repeated. It is repeated when there is no answer or the status is 5xx; the last
    /// answer is returned.
    pub(super) async fn send(&self, head: &Head<'_>, body: &[u8]) -> Result<Answer, Cause> {
        let mut attempt = 1;
        loop {
            let answer = self.send_once(head, body).await;
            let again = match &answer {
                Ok(answer) => answer.status.is_server_error(),
                Err(cause) => matches!(cause, Cause::Transport(_)),
            };
            if !again || attempt >= self.attempts {
                return answer;
            }
            tokio::time::sleep(self.backoff.pause(attempt, rand::random())).await;
            attempt += 1;
        }
    }

    /// Sends a request that must not be repeated: without an answer it is unknown whether it took effect.
    pub(super) async fn send_once(&self, head: &Head<'_>, body: &[u8]) -> Result<Answer, Cause> {
        let sending = self.request(head).send_body(body.to_vec());
        let answer = tokio::time::timeout(self.timeout, self.finish(sending)).await;
        answer.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// Like [`Exchange::send_once`], but the time-out applies to a lack of progress: it restarts with each piece taken
    /// from the body, and after the last piece the answer has the full time.
    pub(super) async fn send_pieces(&self, head: &Head<'_>, body: Pieces) -> Result<Answer, Cause> {
        let moved = Rc::new(Cell::new(Instant::now()));
        let body = SizedStream::new(body.length, watched(body.pieces, Rc::clone(&moved)).map_ok(Into::into));
        let sending = self.request(head).send_body(body);
        unless_still(self.timeout, &moved, self.finish(sending)).await.unwrap_or_else(|| Err(self.too_late()))
    }

    fn request(&self, head: &Head<'_>) -> ClientRequest {
        let mut request = self.client.request(head.method.clone(), head.url.as_str());
        request = request.insert_header((header::ACCEPT, "application/json"));
        if let Some(value) = head.authorization {
            request = request.insert_header((header::AUTHORIZATION, value.expose_secret()));
        }
        match &head.header {
            Some((name, value)) => request.insert_header((name, *value)),
            None => request,
        }
    }

    async fn finish(&self, sending: SendClientRequest) -> Result<Answer, Cause> {
        let mut response = sending.await.map_err(unsent)?;
        let body = response.body().limit(self.max_body).await.map_err(|error| match error {
            PayloadError::Overflow => Cause::TooLarge { limit: self.max_body },
            other => Cause::Transport(other.into()),
        })?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let date = response.headers().get(header::DATE).and_then(|value| seconds(value.to_str().ok()?));
        Ok(Answer { status: response.status(), location: location.map(str::to_owned), date, body: body.to_vec() })
    }

    fn too_late(&self) -> Cause {
        Cause::Transport(TransportError::Timeout(self.timeout))
    }
}

/// Pauses between attempts at one request.
fn backoff(first: Duration) -> Backoff {
    Backoff { first, longest: first * 64, jitter: 0.5 }
}

fn seconds(date: &str) -> Option<i64> {
    let date = SystemTime::from(date.parse::<HttpDate>().ok()?);
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// A body that cannot be read does not count as a missing answer.
fn unsent(error: SendRequestError) -> Cause {
    match error {
        SendRequestError::Body(error) => Cause::Unreadable(
            error.downcast().map_or_else(|error| io::Error::other(error.to_string()), |error: Box<io::Error>| *error),
        ),
        other => Cause::Transport(other.into()),
    }
}

/// Records the time whenever a piece is taken.
fn watched<S: Stream>(pieces: S, moved: Rc<Cell<Instant>>) -> impl Stream<Item = S::Item> {
    futures::StreamExt::inspect(pieces, move |_| moved.set(Instant::now()))
}

/// The result of some work; `None` when nothing has progressed for the time-out.
async fn unless_still<T>(timeout: Duration, moved: &Cell<Instant>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let deadline = moved.get() + timeout;
        match tokio::time::timeout_at(deadline, &mut work).await {
            Ok(result) => return Some(result),
            Err(_) if moved.get() + timeout > deadline => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let backoff = backoff(Duration::from_millis(100));
        let pauses = [1, 2, 3, 7, 100].map(|attempt| backoff.pause(attempt, 1.0));
        assert_eq!(pauses, [50, 100, 200, 3200, 3200].map(Duration::from_millis));
    }

    /// Sends ten pieces with a pause before each, and one before the answer. Returns the outcome and its time.
    async fn sent(before_each: u64, before_answer: u64) -> (Option<&'static str>, u64) {
        let begin = Instant::now();
        let moved = Rc::new(Cell::new(begin));
        let mut pieces = Box::pin(watched(futures::stream::iter(0..10), Rc::clone(&moved)));
        let work = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(before_each)).await;
                pieces.next().await;
            }
            tokio::time::sleep(Duration::from_secs(before_answer)).await;
            "answer"
        };
        (unless_still(Duration::from_secs(30), &moved, work).await, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn sending_may_last_as_long_as_it_goes_on() {
        assert_eq!(sent(29, 0).await, (Some("answer"), 290));
        assert_eq!(sent(31, 0).await, (None, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_has_the_whole_time_out_after_the_last_piece() {
        assert_eq!(sent(1, 29).await, (Some("answer"), 39));
        assert_eq!(sent(1, 31).await, (None, 40));
    }
}
