//! The `Authorization` header that the director expects.
//!
//! The director states in `/info` which kind it expects; that is requested once. A UAA token is kept until shortly
//! before it expires. It is discarded when the director refuses it, because a restarted UAA may have new keys.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, header};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use super::{
    Cause, ClientError, Credentials, Operation, body_of,
    exchange::{Exchange, Head},
    settings,
};
use crate::wire::{Info, Token};

enum Known {
    Nothing,
    Basic,
    Uaa { url: Url, token: Option<Held> },
}

struct Held {
    header: SecretString,
    renew_at: Instant,
}

/// A value for `Authorization`.
pub(super) struct Login {
    pub(super) header: SecretString,
    /// Whether a refusal may be due to its age.
    pub(super) renewable: bool,
}

pub(super) struct Logins {
    credentials: Credentials,
    // One request at a time: several requests that start together share one token.
    known: Mutex<Known>,
}

impl Logins {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, known: Mutex::new(Known::Nothing) }
    }

    /// The header to send now.
    pub(super) async fn current(&self, exchange: &Exchange, director: &Url) -> Result<Login, ClientError> {
        let mut known = self.known.lock().await;
        if matches!(*known, Known::Nothing) {
            *known = discover(&info(exchange, director).await?)?;
        }
        match &mut *known {
            Known::Nothing | Known::Basic => Ok(Login { header: self.basic(), renewable: false }),
            Known::Uaa { url, token } => {
                let held = match token.take() {
                    Some(held) if Instant::now() < held.renew_at => held,
                    _ => self.token(exchange, url).await?,
                };
                let header = held.header.clone();
                *token = Some(held);
                Ok(Login { header, renewable: true })
            }
        }
    }

    /// Discards a refused login, unless it has been replaced already.
    pub(super) async fn refused(&self, login: &Login) {
        let mut known = self.known.lock().await;
        match &mut *known {
            Known::Uaa { token, .. } if login.renewable => {
                if token.as_ref().is_some_and(|held| held.header.expose_secret() == login.header.expose_secret()) {
                    *token = None;
                }
            }
            // The director may have switched to a UAA, or back.
            _ => *known = Known::Nothing,
        }
    }

    fn basic(&self) -> SecretString {
        let pair = format!("{}:{}", self.credentials.name, self.credentials.secret.expose_secret());
        SecretString::from(format!("Basic {}", STANDARD.encode(pair)))
    }

    async fn token(&self, exchange: &Exchange, url: &Url) -> Result<Held, ClientError> {
        let failed = |cause| ClientError { operation: Operation::Token, cause };
        let form = Some((header::CONTENT_TYPE, "application/x-www-form-urlencoded"));
        let head = Head { method: Method::POST, url, authorization: Some(&self.basic()), header: form };
        let asked_at = Instant::now();
        let answer = exchange.send(&head, b"grant_type=client_credentials").await.map_err(failed)?;
        let token: Token = body_of(&answer).map_err(failed)?;
        let header = SecretString::from(format!("Bearer {}", token.access_token.expose_secret()));
        Ok(Held { header, renew_at: asked_at + usable(lifetime(token.expires_in).map_err(failed)?) })
    }
}

/// `GET /info`, which requires no login.
pub(super) async fn info(exchange: &Exchange, director: &Url) -> Result<Info, ClientError> {
    let failed = |cause| ClientError { operation: Operation::Info, cause };
    let mut url = director.clone();
    url.set_path("/info");
    let head = Head { method: Method::GET, url: &url, authorization: None, header: None };
    let answer = exchange.send(&head, b"").await.map_err(failed)?;
    body_of(&answer).map_err(failed)
}

fn discover(info: &Info) -> Result<Known, ClientError> {
    let failed = |cause| ClientError { operation: Operation::Info, cause };
    let authentication = &info.user_authentication;
    match (authentication.kind.as_str(), &authentication.options.url) {
        ("basic", _) => Ok(Known::Basic),
        ("uaa", Some(url)) => {
            let mut url =
                settings::checked_url(url).map_err(|_| failed(Cause::Redirect("to a UAA whose URL is not https")))?;
            let path = format!("{}/oauth/token", url.path().trim_end_matches('/'));
            url.set_path(&path);
            Ok(Known::Uaa { url, token: None })
        }
        (other, _) => Err(failed(Cause::UnknownAuthentication(other.to_owned()))),
    }
}

/// Lifetime of a token. More than a century is not valid: a UAA's settings hold seconds in 31 bits.
fn lifetime(expires_in: u64) -> Result<Duration, Cause> {
    let seconds = u32::try_from(expires_in);
    let odd = |_| Cause::Odd(format!("a token whose `expires_in` is {expires_in} seconds"));
    seconds.map(|seconds| Duration::from_secs(seconds.into())).map_err(odd)
}

/// How long a token is used. The rest is a margin for latency and differing clocks.
fn usable(valid: Duration) -> Duration {
    valid - (valid / 4).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        assert_eq!(usable(Duration::from_secs(43_200)), Duration::from_secs(43_170));
        assert_eq!(usable(Duration::from_secs(120)), Duration::from_secs(90));
        assert_eq!(usable(Duration::from_secs(2)), Duration::from_millis(1500));
        assert_eq!(usable(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_lifetime_that_no_clock_can_count_is_an_error_of_the_answer() {
        assert_eq!(lifetime(43_200).unwrap(), Duration::from_secs(43_200));
        for odd in [1 << 32, u64::MAX - 1, u64::MAX] {
            assert!(matches!(lifetime(odd), Err(Cause::Odd(text)) if text.contains(&odd.to_string())));
        }
    }
}
