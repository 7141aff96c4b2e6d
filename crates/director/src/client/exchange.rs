//! One request and its answer: time-outs, size, retries. Knows nothing of directors.

use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

use awc::{
    Client, ClientRequest,
    error::PayloadError,
    http::{StatusCode, header},
};
use url::Url;

use super::{Cause, ClientSettings, SettingsError, TransportError, settings};

/// What is sent.
pub(super) enum Request {
    Get,
    Form(&'static [(&'static str, &'static str)]),
}

/// What came back, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Exchange {
    client: Client,
    timeout: Duration,
    max_body: usize,
    attempts: u32,
    backoff: Duration,
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
            backoff: settings.backoff,
        })
    }

    /// Sends a request, again when nobody answers or the status is 5xx, and gives the last answer.
    pub(super) async fn send(
        &self,
        request: &Request,
        url: &Url,
        authorization: Option<&SecretString>,
    ) -> Result<Answer, Cause> {
        let mut attempt = 1;
        loop {
            let answer = self.once(request, url, authorization).await;
            let again = match &answer {
                Ok(answer) => answer.status.is_server_error(),
                Err(cause) => matches!(cause, Cause::Transport(_)),
            };
            if !again || attempt >= self.attempts {
                return answer;
            }
            tokio::time::sleep(pause(self.backoff, attempt, rand::random_range(0.5..=1.0))).await;
            attempt += 1;
        }
    }

    async fn once(&self, request: &Request, url: &Url, authorization: Option<&SecretString>) -> Result<Answer, Cause> {
        tokio::time::timeout(self.timeout, self.unbounded(request, url, authorization))
            .await
            .unwrap_or(Err(Cause::Transport(TransportError::Timeout(self.timeout))))
    }

    async fn unbounded(
        &self,
        request: &Request,
        url: &Url,
        authorization: Option<&SecretString>,
    ) -> Result<Answer, Cause> {
        let with_headers = |mut built: ClientRequest| {
            built = built.insert_header((header::ACCEPT, "application/json"));
            match authorization {
                Some(value) => built.insert_header((header::AUTHORIZATION, value.expose_secret())),
                None => built,
            }
        };
        let sending = match request {
            Request::Get => with_headers(self.client.get(url.as_str())).send(),
            Request::Form(fields) => with_headers(self.client.post(url.as_str())).send_form(fields),
        };
        let mut response = sending.await.map_err(|error| Cause::Transport(error.into()))?;
        let body = response.body().limit(self.max_body).await.map_err(|error| match error {
            PayloadError::Overflow => Cause::TooLarge { limit: self.max_body },
            other => Cause::Transport(other.into()),
        })?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        Ok(Answer { status: response.status(), location: location.map(str::to_owned), body: body.to_vec() })
    }
}

/// Pause after an attempt that failed, counted from 1; `chance` is between 0.5 and 1.
fn pause(backoff: Duration, attempt: u32, chance: f64) -> Duration {
    const MAX_DOUBLINGS: u32 = 6;
    (backoff * 2_u32.pow((attempt - 1).min(MAX_DOUBLINGS))).mul_f64(chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let pauses: Vec<_> = [1, 2, 3, 7, 100].map(|attempt| pause(Duration::from_millis(100), attempt, 0.5)).to_vec();
        assert_eq!(pauses, [50, 100, 200, 3200, 3200].map(Duration::from_millis));
    }
}
