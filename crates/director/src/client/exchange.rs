//! One request and its answer: time-outs, size, retries. This code knows nothing about directors.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boshy_backoff::Backoff;
use boshy_http_client::{HttpClient, HttpError, RequestBody, whole};
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{self, HeaderName},
};
use secrecy::{ExposeSecret, SecretString};
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

/// An answer of any status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    /// The server's clock, in seconds since 1970 (RFC 9110 6.6.1).
    pub(super) date: Option<i64>,
    pub(super) body: Bytes,
}

pub(super) struct Exchange {
    client: HttpClient,
    pub(super) timeout: Duration,
    max_body: usize,
    attempts: u32,
    backoff: Backoff,
}

impl Exchange {
    pub(super) fn new(settings: &ClientSettings, url: &Url) -> Result<Self, SettingsError> {
        Ok(Self {
            client: HttpClient::new(settings::tls(settings, url)?, settings.timeout),
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
        let sending = self.answer_to(head.with_body(whole(body.to_vec()))?);
        tokio::time::timeout(self.timeout, sending).await.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// The answer to a request, without a time-out.
    pub(super) async fn answer_to(&self, request: Request<RequestBody>) -> Result<Answer, Cause> {
        let (head, body) = self.client.send(request, self.max_body).await?.into_parts();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let location = text(header::LOCATION).map(str::to_owned);
        let date = text(header::DATE).and_then(seconds);
        Ok(Answer { status: head.status, location, date, body })
    }

    pub(super) fn too_late(&self) -> Cause {
        Cause::Transport(TransportError::Timeout(self.timeout))
    }
}

impl Head<'_> {
    pub(super) fn with_body(&self, body: RequestBody) -> Result<Request<RequestBody>, Cause> {
        self.request(body).map_err(|error| Cause::Transport(TransportError::Other(error.to_string())))
    }

    fn request(&self, body: RequestBody) -> http::Result<Request<RequestBody>> {
        let mut request = Request::builder().method(self.method.clone()).uri(self.url.as_str());
        request = request.header(header::ACCEPT, "application/json");
        if let Some(value) = self.authorization {
            let mut value = HeaderValue::try_from(value.expose_secret())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some((name, value)) = &self.header {
            request = request.header(name, *value);
        }
        request.body(body)
    }
}

impl From<HttpError> for Cause {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Connect(error) => Self::Transport(TransportError::Connect(error)),
            HttpError::Broken(error) => Self::Transport(TransportError::Broken(error)),
            HttpError::Other(error) => Self::Transport(TransportError::Other(error)),
            HttpError::TooLarge { limit } => Self::TooLarge { limit },
            // Not a missing answer: the request was not sent as a whole.
            HttpError::Unreadable(error) => Self::Unreadable(error),
        }
    }
}

/// Pauses between attempts at one request.
fn backoff(first: Duration) -> Backoff {
    Backoff { first, longest: first * 64, jitter: 0.5 }
}

fn seconds(date: &str) -> Option<i64> {
    let date: SystemTime = httpdate::parse_http_date(date).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let backoff = backoff(Duration::from_millis(100));
        let pauses = [1, 2, 3, 7, 100].map(|attempt| backoff.pause(attempt, 1.0));
        assert_eq!(pauses, [50, 100, 200, 3200, 3200].map(Duration::from_millis));
    }
}
