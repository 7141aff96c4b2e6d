//! Asks a director.
//!
//! ```text
//!   DirectorClient ── what is asked, redirects, one renewal of the login
//!     ├─ Logins ───── /info once; Basic, or a UAA token while it is good
//!     └─ Exchange ─── one request: TLS, time-outs, size, retries with jitter
//! ```
//!
//! Everything asked for is a read without a director task. A client lives on one thread (`awc` is not `Send`) and its
//! futures must run on an actix or tokio current-thread runtime.

mod error;
mod exchange;
mod login;
mod settings;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

pub use self::{
    error::{Cause, ClientError, Operation, TransportError},
    settings::{ClientSettings, Credentials, SettingsError},
};
use self::{
    exchange::{Answer, Exchange, Request},
    login::Logins,
};
use crate::wire::{DeploymentRow, ErrorBody, Event, Info, InstanceRow, ManifestBody};

const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const MAX_REDIRECTS: u32 = 5;

/// Asks one director.
pub struct DirectorClient {
    director: Url,
    exchange: Exchange,
    logins: Logins,
}

impl DirectorClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the URL or the CA cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, SettingsError> {
        let director = settings::checked_url(&settings.url)?;
        let exchange = Exchange::new(settings, &director)?;
        Ok(Self { director, exchange, logins: Logins::new(settings.credentials.clone()) })
    }

    /// `GET /info`, without login.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn info(&self) -> Result<Info, ClientError> {
        login::info(&self.exchange, &self.director).await
    }

    /// `GET /deployments`, names and teams only, which costs the director two queries.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn deployments(&self) -> Result<Vec<DeploymentRow>, ClientError> {
        const PATH: &str =
            "/deployments?exclude_configs=true&exclude_releases=true&exclude_stemcells=true&exclude_lock=true";
        self.get(Operation::Deployments, PATH).await
    }

    /// `GET /deployments/:name`: the text of the last successful deploy, none before the first.
    ///
    /// # Errors
    /// When there is no good answer; [`ClientError::is_gone`] when there is no such deployment.
    pub async fn manifest(&self, deployment: &str) -> Result<Option<String>, ClientError> {
        let path = format!("/deployments/{}", segment(deployment));
        let body: ManifestBody = self.get(Operation::Manifest(deployment.to_owned()), &path).await?;
        Ok(body.manifest)
    }

    /// `GET /deployments/:name/instances`, from the director's tables alone: no agent is asked.
    ///
    /// # Errors
    /// When there is no good answer; [`ClientError::is_gone`] when there is no such deployment.
    pub async fn instances(&self, deployment: &str) -> Result<Vec<InstanceRow>, ClientError> {
        let path = format!("/deployments/{}/instances", segment(deployment));
        self.get(Operation::Instances(deployment.to_owned()), &path).await
    }

    /// `GET /events`: the newest 200, newest first; with `after` only those of a later second than that.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn events(&self, after: Option<i64>) -> Result<Vec<Event>, ClientError> {
        let path = after.map_or_else(|| "/events".to_owned(), |after| format!("/events?after_time={after}"));
        self.get(Operation::Events, &path).await
    }

    async fn get<T: DeserializeOwned>(&self, operation: Operation, path: &str) -> Result<T, ClientError> {
        match self.answer(path).await {
            Ok(answer) => read(&answer.body),
            Err(cause) => Err(cause),
        }
        .map_err(|cause| ClientError { operation, cause })
    }

    /// A successful answer. A login that may merely be too old is renewed once: the director says 401 also to good logins with
    /// too few scopes, and would say so for ever.
    async fn answer(&self, path: &str) -> Result<Answer, Cause> {
        let mut renewed = false;
        loop {
            let login = self
                .logins
                .current(&self.exchange, &self.director)
                .await
                .map_err(|error| Cause::Login(Box::new(error)))?;
            let answer = self.follow(path, &login.header).await?;
            if answer.status.is_success() {
                return Ok(answer);
            }
            if answer.status.as_u16() != 401 {
                return Err(failed(&answer));
            }
            self.logins.refused(&login).await;
            if renewed || !login.renewable {
                return Err(failed(&answer));
            }
            renewed = true;
        }
    }

    /// Follows redirects by their path alone: behind a proxy the director does not know its own address, and the login is meant
    /// for the configured host only.
    async fn follow(&self, path: &str, authorization: &SecretString) -> Result<Answer, Cause> {
        let mut url = self.own_url(path)?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.exchange.send(&Request::Get, &url, Some(authorization)).await?;
            if !matches!(answer.status.as_u16(), 302 | 303) {
                return Ok(answer);
            }
            let location = answer.location.ok_or(Cause::Redirect("without a place"))?;
            let target = url.join(&location).map_err(|_| Cause::Redirect("to a place that is no URL"))?;
            url.set_path(target.path());
            url.set_query(target.query());
        }
        Err(Cause::Redirect("too often"))
    }

    fn own_url(&self, path: &str) -> Result<Url, Cause> {
        self.director.join(path).map_err(|_| Cause::Redirect("to a place that is no URL"))
    }
}

fn segment(name: &str) -> String {
    utf8_percent_encode(name, PATH_SEGMENT).to_string()
}

/// Reads JSON whatever the content type says: most JSON of a director comes as `text/html`.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Cause> {
    serde_json::from_slice(body).map_err(Cause::Malformed)
}

fn failed(answer: &Answer) -> Cause {
    let error: Option<ErrorBody> = serde_json::from_slice(&answer.body).ok();
    match answer.status.as_u16() {
        401 => Cause::Unauthorized(error.map(|error| error.description)),
        status => Cause::Status { status, error },
    }
}
